package s3

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is for a bucket of a server on this machine.
func config(endpoint string) Config {
	c := DefaultConfig()
	c.Endpoint, c.Bucket, c.Prefix = endpoint, "bucket", "some/prefix"
	c.AccessKey, c.SecretKey = "ringleader", "not-a-secret"
	c.PartSize = minPart
	return c
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// serve runs an HTTP server for the time of a test.
func serve(t *testing.T, h http.Handler) Config {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return config(server.URL)
}

// TestStore runs against an imitation that checks neither signatures nor hashes nor, for objects in parts, conditions: TestMinIO is the
// real thing.
func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) checkpoints.Store {
		backend := s3mem.New()
		if err := backend.CreateBucket("bucket"); err != nil {
			t.Fatal(err)
		}
		return open(t, serve(t, gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()))
	}, storetest.BigRace)
}

// TestSweep: uploads whose writers died are given up once they are old; those of others' names stay.
func TestSweep(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	s := open(t, serve(t, gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()))
	for _, name := range []string{"run/step-1/model", "run/step-2/model", "run/step-2/optimizer", "other/model"} {
		if _, err := s.core.NewMultipartUpload(t.Context(), s.bucket, s.key(name), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, sweep := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Minute), 3}, {time.Now().Add(time.Minute), 0}} {
		if n, err := s.Sweep(t.Context(), "run/", sweep.before); n != sweep.want || err != nil {
			t.Errorf("uploads from before %v: gave up %d, %v; want %d", sweep.before, n, err, sweep.want)
		}
	}
	page, err := s.core.ListMultipartUploads(t.Context(), s.bucket, "", "", "", "", 10)
	if err != nil || len(page.Uploads) != 1 || page.Uploads[0].Key != s.key("other/model") {
		t.Errorf("left are %+v, %v; want other/model", page.Uploads, err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestServerAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := config("http://" + l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.Attempts = 2
	s := open(t, c)
	wantError(t, storetest.Put(t.Context(), s, "x", nil, false), checkpoints.ErrUnavailable)
	_, err = s.List(t.Context(), "")
	wantError(t, err, checkpoints.ErrUnavailable)
}

// A server that takes the connection and says nothing must not hold us for ever.
func TestServerSilent(t *testing.T) {
	silence := make(chan struct{})
	c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silence }))
	defer close(silence)
	c.Stall, c.Attempts = 50*time.Millisecond, 2
	s := open(t, c)
	_, err := s.Stat(t.Context(), "x")
	wantError(t, err, checkpoints.ErrUnavailable)
	wantError(t, storetest.Put(t.Context(), s, "x", storetest.Content(storetest.Big, 1), false), checkpoints.ErrUnavailable)
}

// A body that ends before its announced length, or stops coming, is trouble with the store, not a short object.
func TestBodyCut(t *testing.T) {
	stop := make(chan struct{})
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
		_, _ = w.Write(make([]byte, 1000))
		_ = http.NewResponseController(w).Flush()
		if strings.HasSuffix(r.URL.Path, "stalled") {
			<-stop
		}
		panic(http.ErrAbortHandler)
	}))
	defer close(stop)
	c.Stall = 100 * time.Millisecond
	s := open(t, c)
	for _, name := range []string{"cut", "stalled"} {
		r, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if n != 1000 || !errors.Is(err, checkpoints.ErrUnavailable) {
			t.Errorf("%s: read %d bytes, %v; want 1000 and ErrUnavailable", name, n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConflict(t *testing.T) {
	for there, want := range map[bool]error{true: checkpoints.ErrExist, false: checkpoints.ErrUnavailable} {
		s := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPut:
				if r.Header.Get("If-None-Match") != "*" {
					t.Error("the write is not conditional")
				}
				w.WriteHeader(http.StatusConflict)
			case !there:
				w.WriteHeader(http.StatusNotFound)
			default:
				w.Header().Set("Last-Modified", time.Unix(0, 0).UTC().Format(http.TimeFormat))
			}
		})))
		wantError(t, storetest.Put(t.Context(), s, "x", []byte("content"), true), want)
	}
}

func TestKind(t *testing.T) {
	for _, test := range []struct {
		status int
		code   string
		want   error
	}{
		{404, "NoSuchKey", checkpoints.ErrNotExist}, {404, "NoSuchBucket", checkpoints.ErrNotExist}, {404, "NoSuchUpload", checkpoints.ErrUnavailable},
		{412, "PreconditionFailed", checkpoints.ErrExist}, {403, "AccessDenied", checkpoints.ErrDenied}, {403, "SignatureDoesNotMatch", checkpoints.ErrDenied},
		{401, "Unauthorized", checkpoints.ErrDenied}, {507, "XMinioStorageFull", checkpoints.ErrFull}, {400, "XMinioAdminBucketQuotaExceeded", checkpoints.ErrFull},
		{403, "QuotaExceeded", checkpoints.ErrFull}, {400, "BadDigest", checkpoints.ErrCorrupt}, {400, "XAmzContentSHA256Mismatch", checkpoints.ErrCorrupt},
		{503, "SlowDown", checkpoints.ErrUnavailable}, {500, "InternalError", checkpoints.ErrUnavailable}, {409, "OperationAborted", checkpoints.ErrUnavailable},
	} {
		err := mapped(minio.ErrorResponse{StatusCode: test.status, Code: test.code})
		if !errors.Is(err, test.want) {
			t.Errorf("%d %s: %v, want %v", test.status, test.code, err, test.want)
		}
	}
	if err := mapped(context.Canceled); !errors.Is(err, context.Canceled) || !errors.Is(err, checkpoints.ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
}
