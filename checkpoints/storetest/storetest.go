// Package storetest is what every checkpoints.Store must pass.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// Big is the size of the object that is larger than a buffer or a part of a store under test should be.
const Big = 5<<20 + 12345

// Feature is something that a server may lack.
type Feature string

// BigRace: of several writers of a big object that must not exist, one wins.
const BigRace Feature = "race of big objects"

// Run tests a backend. open returns a new, empty store each time; the features are not tested.
func Run(t *testing.T, open func(t *testing.T) checkpoints.Store, without ...Feature) {
	tests := []struct {
		name    string
		run     func(*testing.T, checkpoints.Store)
		feature Feature
	}{
		{"PutAndRead", putAndRead, ""},
		{"Replace", replace, ""},
		{"IfAbsent", ifAbsent, ""},
		{"Race", func(t *testing.T, s checkpoints.Store) { race(t, s, 1000, 8, 3) }, ""},
		{"RaceBig", func(t *testing.T, s checkpoints.Store) { race(t, s, Big, 3, 1) }, BigRace},
		{"ReplaceWhileRead", replaceWhileRead, ""},
		{"WrongContent", wrongContent, ""},
		{"NoSum", noSum, ""},
		{"BodyNotAtStart", bodyNotAtStart, ""},
		{"BodyFails", bodyFails, ""},
		{"Missing", missing, ""},
		{"List", list, ""},
		{"OddNames", oddNames, ""},
		{"BadNames", badNames, ""},
		{"Delete", deletes, ""},
		{"ContextEnded", contextEnded, ""},
		{"ContextEndsReading", contextEndsReading, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.feature != "" && slices.Contains(without, test.feature) {
				t.Skipf("the server has no %s", test.feature)
			}
			test.run(t, open(t))
		})
	}
}

// Content is size bytes that depend on seed. They repeat after a number of bytes that divides no buffer's size, so that pieces that change
// places are noticed.
func Content(size int, seed byte) []byte {
	const period = 65537
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b[:min(size, period)]) // never fails
	for n := period; n < size; n *= 2 {
		copy(b[n:], b[:n])
	}
	return b
}

// Put stores content under its true size and hash.
func Put(ctx context.Context, s checkpoints.Store, name string, content []byte, ifAbsent bool) error {
	sum := sha256.Sum256(content)
	return s.Put(ctx, name, bytes.NewReader(content), int64(len(content)), sum[:], ifAbsent)
}

func mustPut(t *testing.T, s checkpoints.Store, name string, content []byte) {
	t.Helper()
	if err := Put(t.Context(), s, name, content, false); err != nil {
		t.Fatal(err)
	}
}

// get reads an object whole.
func get(t *testing.T, s checkpoints.Store, name string) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func wantContent(t *testing.T, s checkpoints.Store, name string, want []byte) {
	t.Helper()
	if have := get(t, s, name); !bytes.Equal(have, want) {
		t.Fatalf("%s: read %d bytes that are not the %d that were put", name, len(have), len(want))
	}
	info, err := s.Stat(t.Context(), name)
	if err != nil || info.Name != name || info.Size != int64(len(want)) {
		t.Fatalf("stat %s: %+v, %v; want size %d", name, info, err, len(want))
	}
	listed, err := s.List(t.Context(), name)
	if err != nil || len(listed) == 0 || listed[0].Name != name || info.Modified.IsZero() || listed[0].Modified.Sub(info.Modified).Abs() > checkpoints.StaleAfter/2 {
		t.Fatalf("list %s: %+v, %v; want what stat tells, %+v", name, listed, err, info)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func wantNames(t *testing.T, s checkpoints.Store, prefix string, want ...string) {
	t.Helper()
	infos, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, info := range infos {
		have = append(have, info.Name)
	}
	if !slices.Equal(have, want) {
		t.Fatalf("list %q: %q, want %q", prefix, have, want)
	}
}

func putAndRead(t *testing.T, s checkpoints.Store) {
	if s.URL() == "" {
		t.Error("the store has no URL")
	}
	for i, size := range []int{0, 1, 5000, Big} {
		name := fmt.Sprintf("dir/%d/object", size)
		content := Content(size, byte(i))
		mustPut(t, s, name, content)
		wantContent(t, s, name, content)
	}
}

func replace(t *testing.T, s checkpoints.Store) {
	for i, size := range []int{100, 50, Big, 0} {
		content := Content(size, byte(i))
		mustPut(t, s, "a/b", content)
		wantContent(t, s, "a/b", content)
	}
}

func ifAbsent(t *testing.T, s checkpoints.Store) {
	for _, size := range []int{0, 300, Big} {
		name := fmt.Sprint("size-", size)
		first := Content(size, 1)
		if err := Put(t.Context(), s, name, first, true); err != nil {
			t.Fatal(err)
		}
		for _, other := range [][]byte{Content(300, 2), Content(Big, 3), first} {
			wantError(t, Put(t.Context(), s, name, other, true), checkpoints.ErrExist)
			wantContent(t, s, name, first)
		}
	}
}

// race puts different contents under one name at the same time: one wins, the others learn that they lost.
func race(t *testing.T, s checkpoints.Store, size, writers, rounds int) {
	for round := range rounds {
		name := fmt.Sprint("prize/", round)
		var winner atomic.Int32
		var wins atomic.Int32
		var all sync.WaitGroup
		start := make(chan struct{})
		for w := range writers {
			all.Go(func() {
				<-start
				err := Put(t.Context(), s, name, Content(size, byte(w)), true)
				switch {
				case err == nil:
					wins.Add(1)
					winner.Store(int32(w))
				case !errors.Is(err, checkpoints.ErrExist):
					t.Errorf("writer %d: %v, want nil or ErrExist", w, err)
				}
			})
		}
		close(start)
		all.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d winners, want 1", wins.Load())
		}
		wantContent(t, s, name, Content(size, byte(winner.Load())))
	}
}

// replaceWhileRead: a reader that began before sees the old object to its end, or an error; never a mixture.
func replaceWhileRead(t *testing.T, s checkpoints.Store) {
	before, after := Content(Big, 1), Content(Big, 2)
	mustPut(t, s, "x", before)
	r, err := s.Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "x", after)
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(head, rest...), before) {
		t.Error("the reader saw a mixture of two objects")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	wantContent(t, s, "x", after)
}

// wrongContent: a body that is not what was announced is refused, and nothing changes.
func wrongContent(t *testing.T, s checkpoints.Store) {
	for _, size := range []int{100, Big} {
		for _, there := range []bool{false, true} {
			name := fmt.Sprint("size-", size, "-", there)
			if there {
				mustPut(t, s, name, Content(10, 9))
			}
			content := Content(size, 1)
			sum := sha256.Sum256(content)
			flipped := bytes.Clone(content)
			flipped[size-1] ^= 1
			for what, body := range map[string][]byte{"flipped": flipped, "short": content[:size-1], "long": append(content, 0), "empty": nil} {
				err := s.Put(t.Context(), name, bytes.NewReader(body), int64(size), sum[:], false)
				if !errors.Is(err, checkpoints.ErrCorrupt) {
					t.Fatalf("%s, %s: %v, want ErrCorrupt", name, what, err)
				}
			}
			if there {
				wantContent(t, s, name, Content(10, 9))
				continue
			}
			_, err := s.Stat(t.Context(), name)
			wantError(t, err, checkpoints.ErrNotExist)
		}
	}
}

// noSum: without a hash only the size is checked.
func noSum(t *testing.T, s checkpoints.Store) {
	for _, size := range []int{0, 100, Big} {
		content := Content(size, 1)
		if err := s.Put(t.Context(), "x", bytes.NewReader(content), int64(size), nil, false); err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, "x", content)
		wantError(t, s.Put(t.Context(), "x", bytes.NewReader(content), int64(size+1), nil, false), checkpoints.ErrCorrupt)
		wantError(t, s.Put(t.Context(), "x", bytes.NewReader(append(content, 0)), int64(size), nil, false), checkpoints.ErrCorrupt)
		wantContent(t, s, "x", content)
	}
}

func bodyNotAtStart(t *testing.T, s checkpoints.Store) {
	content := Content(1000, 1)
	sum := sha256.Sum256(content)
	body := bytes.NewReader(content)
	if _, err := body.Seek(700, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "x", body, 1000, sum[:], false); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "x", content)
}

var errBody = errors.New("the body broke")

// brokenBody fails behind its first bytes.
type brokenBody struct{ bytes.Reader }

func (b *brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errBody
	}
	return n, err
}

func bodyFails(t *testing.T, s checkpoints.Store) {
	for _, size := range []int{100, Big} {
		content := Content(size, 1)
		sum := sha256.Sum256(content)
		body := &brokenBody{*bytes.NewReader(content[:size/2])}
		err := s.Put(t.Context(), "x", body, int64(size), sum[:], false)
		wantError(t, err, errBody)
		_, err = s.Stat(t.Context(), "x")
		wantError(t, err, checkpoints.ErrNotExist)
	}
	wantNames(t, s, "")
}

func missing(t *testing.T, s checkpoints.Store) {
	mustPut(t, s, "dir/object", Content(10, 1))
	for _, name := range []string{"nothing", "dir", "dir/other", "other/object", "dir/object/below"} {
		_, err := s.Open(t.Context(), name)
		wantError(t, err, checkpoints.ErrNotExist)
		_, err = s.Stat(t.Context(), name)
		wantError(t, err, checkpoints.ErrNotExist)
	}
}

func list(t *testing.T, s checkpoints.Store) {
	wantNames(t, s, "")
	wantNames(t, s, "a/")
	names := []string{"a-1", "a.b", "a/b", "a/b-c/d", "a/c", "ab/c", "b"} // sorted
	for i := range names {                                                // in another order than that of the names
		mustPut(t, s, names[(i*3+2)%len(names)], Content(i, 0))
	}
	wantNames(t, s, "", names...)
	wantNames(t, s, "a", names[:6]...)
	wantNames(t, s, "a/", "a/b", "a/b-c/d", "a/c")
	wantNames(t, s, "a/b", "a/b", "a/b-c/d")
	wantNames(t, s, "a/b-c/", "a/b-c/d")
	wantNames(t, s, "c")
	mustPut(t, s, "b", Content(77, 0))
	if infos, err := s.List(t.Context(), "b"); err != nil || len(infos) != 1 || infos[0].Size != 77 {
		t.Fatalf("list b: %+v, %v; want one of 77 bytes", infos, err)
	}
}

func oddNames(t *testing.T, s checkpoints.Store) {
	names := []string{" ", "%2F", "%41", "+", "a b/c d", "a&b=c?d#e", "a'b\"c", "ä/ö/ü", "~!$(),;:@[]{}|^`<>*", "…", "世界.txt", "😀"}
	slices.Sort(names)
	for i, name := range names {
		mustPut(t, s, name, Content(100+i, byte(i)))
	}
	for i, name := range names {
		wantContent(t, s, name, Content(100+i, byte(i)))
	}
	wantNames(t, s, "", names...)
	wantNames(t, s, "ä/", "ä/ö/ü")
	for _, name := range names {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantNames(t, s, "")
}

func badNames(t *testing.T, s checkpoints.Store) {
	for _, name := range []string{"", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a\x00b", "a\nb", `a\b`, "a\xffb"} {
		wantError(t, Put(t.Context(), s, name, Content(1, 1), false), checkpoints.ErrDenied)
		_, err := s.Open(t.Context(), name)
		wantError(t, err, checkpoints.ErrDenied)
		_, err = s.Stat(t.Context(), name)
		wantError(t, err, checkpoints.ErrDenied)
		wantError(t, s.Delete(t.Context(), name), checkpoints.ErrDenied)
	}
	for _, prefix := range []string{"..", "../", "/", "a/../"} {
		_, err := s.List(t.Context(), prefix)
		wantError(t, err, checkpoints.ErrDenied)
	}
	wantNames(t, s, "")
}

func deletes(t *testing.T, s checkpoints.Store) {
	for _, name := range []string{"a/b/c", "a/b/d"} {
		mustPut(t, s, name, Content(10, 1))
	}
	for range 2 { // the second time it is not there
		for _, name := range []string{"a/b/c", "a/b", "nothing"} {
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		wantNames(t, s, "", "a/b/d")
	}
	if err := s.Delete(t.Context(), "a/b/d"); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, "a/b", Content(10, 1)) // what was a directory leaves no trace
	wantNames(t, s, "", "a/b")
}

func contextEnded(t *testing.T, s checkpoints.Store) {
	mustPut(t, s, "there", Content(10, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, openErr := s.Open(ctx, "there")
	_, statErr := s.Stat(ctx, "there")
	_, listErr := s.List(ctx, "")
	for i, err := range []error{
		Put(ctx, s, "x", Content(10, 1), false), Put(ctx, s, "x", Content(Big, 1), true), openErr, statErr, listErr, s.Delete(ctx, "there"),
	} {
		if !errors.Is(err, checkpoints.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v, want ErrUnavailable and context.Canceled", i, err)
		}
	}
	wantNames(t, s, "", "there")
}

func contextEndsReading(t *testing.T, s checkpoints.Store) {
	mustPut(t, s, "x", Content(Big, 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := s.Open(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, r)
	if !errors.Is(err, checkpoints.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("reading: %v, want ErrUnavailable and context.Canceled", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
