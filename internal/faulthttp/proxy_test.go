package faulthttp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a server that keeps one body.
type shelf struct {
	mu   sync.Mutex
	body []byte
	puts chan bool // what was put is whole
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			s.body = body
		}
		s.puts <- err == nil
		return
	}
	w.Header().Set("ETag", `"tag"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(s.body)))
	_, _ = w.Write(s.body)
}

// setUp is a proxy before a shelf, and a client of it.
func setUp(t *testing.T) (p *Proxy, s *shelf, put func(context.Context, []byte) (int, error), get func() ([]byte, error)) {
	t.Helper()
	s = &shelf{puts: make(chan bool, 1)}
	server := httptest.NewServer(s)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = New(target); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
		client.CloseIdleConnections()
	})
	put = func(ctx context.Context, body []byte) (int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, p.URL(), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		return a.StatusCode, a.Body.Close()
	}
	get = func() ([]byte, error) {
		a, err := client.Get(p.URL())
		if err != nil {
			return nil, err
		}
		defer a.Body.Close()
		return io.ReadAll(a.Body)
	}
	return p, s, put, get
}

// content is a body of some length.
func content(seed byte) []byte { return bytes.Repeat([]byte{seed, 1, 2, 3}, 5000) }

// difference counts the bits in which bodies of one length differ; -1: they have not.
func difference(a, b []byte) (n int) {
	if len(a) != len(b) {
		return -1
	}
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// TestOnce: of the faults that strike once, each request that follows is as without.
func TestOnce(t *testing.T) {
	p, s, put, get := setUp(t)
	if status, err := put(t.Context(), content(7)); status != 200 || err != nil || !<-s.puts {
		t.Fatalf("put without a fault: %d, %v", status, err)
	}
	if body, err := get(); err != nil || !bytes.Equal(body, content(7)) {
		t.Fatalf("got %d bytes, %v", len(body), err)
	}
	t.Run("CutUpload", func(t *testing.T) {
		f := p.Begin(CutUpload, 8*9000)
		if _, err := put(t.Context(), content(8)); err == nil || <-s.puts {
			t.Error("an upload that was cut succeeded")
		}
		if status, err := put(t.Context(), content(8)); status != 200 || err != nil || !<-s.puts || f.Met() != 1 {
			t.Errorf("the next one: %d, %v, %d met the fault", status, err, f.Met())
		}
	})
	t.Run("FlipUpload", func(t *testing.T) {
		p.Begin(FlipUpload, 1234567)
		if status, err := put(t.Context(), content(9)); status != 200 || err != nil || !<-s.puts || difference(s.body, content(9)) != 1 {
			t.Errorf("put: %d, %v, %d bits differ; want one", status, err, difference(s.body, content(9)))
		}
	})
	t.Run("LoseAnswer", func(t *testing.T) {
		p.Begin(LoseAnswer, 0)
		if _, err := put(t.Context(), content(10)); err == nil || !<-s.puts || !bytes.Equal(s.body, content(10)) {
			t.Errorf("put: %v; want it to be done, and an error", err)
		}
	})
	t.Run("CutDownload", func(t *testing.T) {
		p.Begin(CutDownload, 8*9000)
		if body, err := get(); err == nil || len(body) > 9001 {
			t.Errorf("got %d bytes, %v", len(body), err)
		}
	})
	t.Run("FlipDownload", func(t *testing.T) {
		p.Begin(FlipDownload, 77777)
		if body, err := get(); err != nil || difference(body, content(10)) != 1 {
			t.Errorf("got %d bytes, %v, %d bits differ; want one", len(body), err, difference(body, content(10)))
		}
		if body, err := get(); err != nil || !bytes.Equal(body, content(10)) {
			t.Errorf("the next time: %d bytes, %v", len(body), err)
		}
	})
}

// TestRefuse: overloaded, then broken, then well again.
func TestRefuse(t *testing.T) {
	p, s, put, _ := setUp(t)
	f := p.Begin(Refuse, 0)
	for _, want := range []int{503, 500, 503} {
		if status, err := put(t.Context(), content(7)); status != want || err != nil {
			t.Errorf("%d, %v; want %d", status, err, want)
		}
	}
	f.End()
	if status, err := put(t.Context(), content(7)); status != 200 || err != nil || !<-s.puts || f.Met() != 3 {
		t.Errorf("%d, %v; %d met the fault", status, err, f.Met())
	}
}

// TestHang: nobody is answered while the server hangs; what was asked of it is done afterwards, also for a client that has given up.
func TestHang(t *testing.T) {
	p, s, put, _ := setUp(t)
	f := p.Begin(Hang, 0)
	ctx, giveUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := put(ctx, content(7)); gone <- err }()
	for f.Met() == 0 {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		runtime.Gosched()
	}
	giveUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the client that gave up: %v", err)
	}
	select {
	case <-s.puts:
		t.Error("the server saw the upload while it hung")
	default:
	}
	f.End()
	if !<-s.puts || !bytes.Equal(s.body, content(7)) {
		t.Error("the upload is not done after the end")
	}
}

// TestCloseWhileHanging: the end of the proxy is the end of who waits.
func TestCloseWhileHanging(t *testing.T) {
	p, _, _, get := setUp(t)
	f := p.Begin(Hang, 0)
	gone := make(chan error, 1)
	go func() { _, err := get(); gone <- err }()
	for f.Met() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("nobody came")
		}
		runtime.Gosched()
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-gone; err == nil {
		t.Error("the request was answered")
	}
}

// TestSlowAndCalm: a slow server does all that it is asked; after Calm, nothing strikes any more.
func TestSlowAndCalm(t *testing.T) {
	p, s, put, get := setUp(t)
	slow := p.Begin(Slow, 0)
	if status, err := put(t.Context(), content(7)); status != 200 || err != nil || !<-s.puts || slow.Met() != 1 {
		t.Errorf("slow: %d, %v", status, err)
	}
	for _, k := range []Kind{Refuse, CutDownload, FlipDownload} {
		p.Begin(k, 0)
	}
	p.Calm()
	if body, err := get(); err != nil || !bytes.Equal(body, content(7)) || slow.Met() != 1 {
		t.Errorf("after all faults: %d bytes, %v", len(body), err)
	}
}
