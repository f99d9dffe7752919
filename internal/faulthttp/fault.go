package faulthttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is a way to fail.
type Kind int

// Some last until their End, the others strike one request.
const (
	Refuse       Kind = iota // lasts: requests are answered 503 and 500 by turns, and the server does not see them
	Hang                     // lasts: no request gets to the server before the end; then uploads do whose client has given up, too
	Slow                     // lasts: every request is slowness late
	CutUpload                // the connection of the next upload ends in the middle of it
	CutDownload              // the same for an object on its way to the client
	FlipUpload               // a bit of the next upload is flipped
	FlipDownload             // the same for an object on its way to the client
	LoseAnswer               // the server carries out the next upload, and the client does not hear of it
)

// slowness is how late a request of a slow server is.
const slowness = 150 * time.Millisecond

func (k Kind) once() bool { return k > Slow }

// Fault is one that is on, or was.
type Fault struct {
	kind Kind
	n    uint64
	met  atomic.Int64
	once sync.Once
	over chan struct{}
}

// End ends a fault that lasts, and one that no request has met.
func (f *Fault) End() { f.once.Do(func() { close(f.over) }) }

// Met is how many requests it has struck.
func (f *Fault) Met() int64 { return f.met.Load() }

func (f *Fault) ended() bool {
	select {
	case <-f.over:
		return true
	default:
		return false
	}
}

// place is a byte of a body of that length: not the first, so that it has begun.
func (f *Fault) place(length int64) int64 { return 1 + int64(f.n>>3%uint64(length-1)) }

func (f *Fault) bit() byte { return 1 << (f.n % 8) }

// refuse answers as a server of S3's protocol does that is overloaded, or broken.
func (f *Fault) refuse(w http.ResponseWriter) {
	status, code := http.StatusServiceUnavailable, "SlowDown"
	if f.Met()%2 == 0 {
		status, code = http.StatusInternalServerError, "InternalError"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>a fault on purpose</Message></Error>", code) // the client may have gone
}

var errCut = errors.New("the connection is cut on purpose")

// cut is a body that ends early.
type cut struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (c *cut) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, errCut
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// flipped is a body one bit of which is another one.
type flipped struct {
	io.ReadCloser
	ahead int64 // bytes until it comes
	bit   byte
}

// Read implements io.Reader.
func (f *flipped) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if f.ahead >= 0 && f.ahead < int64(n) {
		b[f.ahead] ^= f.bit
	}
	f.ahead -= int64(n)
	return n, err
}
