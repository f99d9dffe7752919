package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/s3/miniotest"
	"github.com/ringleader-dev/ringleader/checkpoints/storetest"
)

func minioConfig(s *miniotest.Server) Config {
	c := config(s.Endpoint())
	c.AccessKey, c.SecretKey = miniotest.AccessKey, miniotest.SecretKey
	return c
}

// bucket makes a new bucket.
func bucket(s *miniotest.Server, name string) Config {
	c := minioConfig(s)
	c.Bucket = name
	s.MakeBucket(name)
	return c
}

func TestMinIO(t *testing.T) {
	s := miniotest.Start(t, os.Getenv(miniotest.Variable))
	t.Run("Store", func(t *testing.T) {
		n := 0
		storetest.Run(t, func(t *testing.T) checkpoints.Store {
			n++
			return open(t, bucket(s, fmt.Sprint("bucket-", n)))
		})
	})
	t.Run("WrongCredentials", func(t *testing.T) {
		good := bucket(s, "guarded")
		wrongSecret, wrongKey := good, good
		wrongSecret.SecretKey = "another-secret"
		wrongKey.AccessKey = "nobody"
		for _, c := range []Config{wrongSecret, wrongKey} {
			store := open(t, c)
			_, statErr := store.Stat(t.Context(), "x")
			_, listErr := store.List(t.Context(), "")
			_, openErr := store.Open(t.Context(), "x")
			for _, err := range []error{statErr, listErr, openErr, store.Delete(t.Context(), "x"), storetest.Put(t.Context(), store, "x", nil, false),
				storetest.Put(t.Context(), store, "x", storetest.Content(storetest.Big, 1), false)} {
				wantError(t, err, checkpoints.ErrDenied)
			}
		}
	})
	t.Run("NoBucket", func(t *testing.T) {
		c := minioConfig(s)
		c.Bucket = "nowhere"
		store := open(t, c)
		wantError(t, storetest.Put(t.Context(), store, "x", nil, false), checkpoints.ErrNotExist)
		_, err := store.List(t.Context(), "")
		wantError(t, err, checkpoints.ErrNotExist)
	})
	t.Run("DamagedOnTheWay", func(t *testing.T) { testDamage(t, s) })
	t.Run("AbortLeavesNoParts", func(t *testing.T) { testAbort(t, s) })
	t.Run("KilledDuringUpload", func(t *testing.T) { testKilled(t, s) })
	t.Run("Away", func(t *testing.T) {
		c := bucket(s, "away")
		c.Attempts = 2
		store := open(t, c)
		s.Kill()
		defer s.Start()
		wantError(t, storetest.Put(t.Context(), store, "x", nil, false), checkpoints.ErrUnavailable)
	})
}

// testDamage flips bits between here and the server, which must refuse the object.
func testDamage(t *testing.T, s *miniotest.Server) {
	c := bucket(s, "damaged")
	good := open(t, c)
	marker := []byte("=damage-this-text=")
	c.Endpoint = "http://" + proxy(t, s.Address, func(p []byte) {
		if i := bytes.Index(p, marker); i >= 0 {
			p[i] ^= 1
		}
	})
	c.Attempts = 1
	store := open(t, c)
	for _, size := range []int{1000, storetest.Big} {
		content := storetest.Content(size, 1)
		// So often that one of them is in one piece when it passes the proxy, in every part.
		for i := 0; i+len(marker) < size; i += 500 {
			copy(content[i:], marker)
		}
		wantError(t, storetest.Put(t.Context(), store, "x", content, false), checkpoints.ErrCorrupt)
		_, err := good.Stat(t.Context(), "x")
		wantError(t, err, checkpoints.ErrNotExist)
	}
}

// proxy forwards connections to address; change sees what the client sends.
func proxy(t *testing.T, address string, change func([]byte)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			hangUp := func() { _, _ = client.Close(), upstream.Close() }
			all.Go(func() {
				defer hangUp()
				_, _ = io.Copy(client, upstream)
			})
			all.Go(func() {
				defer hangUp()
				p := make([]byte, 1<<16)
				for {
					n, err := client.Read(p)
					change(p[:n])
					if _, writeErr := upstream.Write(p[:n]); err != nil || writeErr != nil {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// at calls f once, when the reader passes a place.
type at struct {
	*bytes.Reader
	place int64
	f     func()
}

func (a *at) Read(p []byte) (int, error) {
	if a.Size()-int64(a.Len()) >= a.place && a.f != nil {
		f := a.f
		a.f = nil
		f()
	}
	return a.Reader.Read(p[:min(len(p), 1<<16)])
}

func testAbort(t *testing.T, s *miniotest.Server) {
	store := open(t, bucket(s, "aborted"))
	content := storetest.Content(storetest.Big, 1)
	sum := sha256.Sum256(content)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := &at{bytes.NewReader(content), minPart + 1, cancel}
	err := store.Put(ctx, "x", body, int64(len(content)), sum[:], false)
	wantError(t, err, checkpoints.ErrUnavailable)
	wantError(t, err, context.Canceled)
	left, err := store.core.ListMultipartUploads(t.Context(), "aborted", store.key("x"), "", "", "", 10)
	if err != nil || len(left.Uploads) > 0 {
		t.Errorf("uploads that remain: %+v, %v; want none", left.Uploads, err)
	}
}

// testKilled kills the server between two parts of an object and starts it again: the object is there whole or not at all, and the next
// attempt succeeds.
func testKilled(t *testing.T, s *miniotest.Server) {
	store := open(t, bucket(s, "killed"))
	content := storetest.Content(storetest.Big, 1)
	sum := sha256.Sum256(content)
	body := &at{bytes.NewReader(content), minPart, func() { s.Kill(); s.Start() }}
	err := store.Put(t.Context(), "x", body, int64(len(content)), sum[:], true)
	if err != nil {
		wantError(t, err, checkpoints.ErrUnavailable)
		_, err := store.Stat(t.Context(), "x")
		wantError(t, err, checkpoints.ErrNotExist)
		if err := storetest.Put(t.Context(), store, "x", content, true); err != nil {
			t.Fatal(err)
		}
	}
	r, err := store.Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	have, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(have, content) {
		t.Errorf("read %d bytes, %v; want the %d that were put", len(have), err, len(content))
	}
}
