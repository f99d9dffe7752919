package grpclink_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
)

func wantRefused(t *testing.T, d dialled, code codes.Code) {
	t.Helper()
	if d.link != nil || status.Code(d.err) != code {
		t.Errorf("dialled %v, %v: want %s", d.link, d.err, code)
	}
}

func TestNobodyWaits(t *testing.T) {
	links := grpclink.NewServer()
	links.Patience = time.Millisecond
	addr, _ := serve(t, links)
	wantRefused(t, <-dialAsync(t.Context(), connect(t, addr), hello(1, 0)), codes.DeadlineExceeded)
}

func TestPendingIsBounded(t *testing.T) {
	links := grpclink.NewServer()
	links.MaxPending = 1
	addr, _ := serve(t, links)
	conn := connect(t, addr)
	// One of the two is refused, whichever comes second; the other one stays.
	first, second := dialAsync(t.Context(), conn, hello(1, 0)), dialAsync(t.Context(), conn, hello(1, 1))
	select {
	case d := <-first:
		wantRefused(t, d, codes.ResourceExhausted)
		first = second
	case d := <-second:
		wantRefused(t, d, codes.ResourceExhausted)
	}
	links.Close()
	wantRefused(t, <-first, codes.Unavailable)
}

func TestNewerGenerationDropsOlder(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := serve(t, links)
	conn := connect(t, addr)
	old := dialAsync(t.Context(), conn, hello(1, 0))
	fresh := dialAsync(t.Context(), conn, hello(2, 0))
	// In either order of arrival the older one is refused: dropped, or not let in.
	wantRefused(t, <-old, codes.FailedPrecondition)
	l, err := links.Accept(t.Context(), 0xABC, 2, 0)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	if d := <-fresh; d.err != nil {
		t.Errorf("dial: %v", d.err)
	}
	if err := l.Close(nil); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestAcceptDropsOlder(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := serve(t, links)
	old := dialAsync(t.Context(), connect(t, addr), hello(1, 0))
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan error, 1)
	go func() {
		_, err := links.Accept(ctx, 0xABC, 5, 3)
		accepted <- err
	}()
	wantRefused(t, <-old, codes.FailedPrecondition)
	cancel()
	if err := <-accepted; !errors.Is(err, context.Canceled) {
		t.Errorf("accept with a cancelled context: %v", err)
	}
}

func TestOtherJobsAreLeftAlone(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := serve(t, links)
	conn := connect(t, addr)
	h := hello(1, 0)
	d := dialAsync(t.Context(), conn, h)
	other := hello(9, 0)
	other.Job = 0xDEF
	a, b := pair(t, links, conn, other)
	a2, err := links.Accept(t.Context(), h.Job, h.Generation, h.From)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	got := <-d
	if got.err != nil {
		t.Fatalf("dial: %v", got.err)
	}
	for _, l := range []interface{ Close(error) error }{a, b, a2, got.link} {
		if err := l.Close(nil); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func TestDialAgainReplaces(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := serve(t, links)
	conn := connect(t, addr)
	a, b := dialAsync(t.Context(), conn, hello(1, 0)), dialAsync(t.Context(), conn, hello(1, 0))
	select {
	case d := <-a:
		wantRefused(t, d, codes.Aborted)
		a = b
	case d := <-b:
		wantRefused(t, d, codes.Aborted)
	}
	if _, err := links.Accept(t.Context(), 0xABC, 1, 0); err != nil {
		t.Fatalf("accept: %v", err)
	}
	d := <-a
	if d.err != nil {
		t.Fatalf("dial: %v", d.err)
	}
	if err := d.link.Close(nil); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestContextEndsDial(t *testing.T) {
	addr, _ := serve(t, grpclink.NewServer())
	ctx, cancel := context.WithCancel(t.Context())
	d := dialAsync(ctx, connect(t, addr), hello(1, 0))
	cancel()
	if got := <-d; got.link != nil || !errors.Is(got.err, context.Canceled) {
		t.Errorf("dial with a cancelled context: %v, %v", got.link, got.err)
	}
}

func TestClosedServer(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := serve(t, links)
	waits := make(chan error, 1)
	go func() {
		_, err := links.Accept(t.Context(), 1, 1, 0)
		waits <- err
	}()
	links.Close()
	if err := <-waits; !errors.Is(err, grpclink.ErrClosed) {
		t.Errorf("accept when the server closes: %v", err)
	}
	if _, err := links.Accept(t.Context(), 1, 1, 0); !errors.Is(err, grpclink.ErrClosed) {
		t.Errorf("accept on a closed server: %v", err)
	}
	wantRefused(t, <-dialAsync(t.Context(), connect(t, addr), hello(1, 0)), codes.Unavailable)
}
