package memlink

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// ErrCut is what both ends report after Cut.
var ErrCut = errors.New("connection reset")

// Hook sees each frame that is sent before the peer does. The frame is a copy, which it may alter; it may wait (not longer than ctx); false drops the frame.
type Hook func(ctx context.Context, f *allreduce.Frame) bool

type faults struct {
	hook   atomic.Pointer[Hook]
	freeze sync.Once
	frozen chan struct{}
}

// OnSend installs a hook for what this end sends; it replaces the one before.
func (l *Link) OnSend(h Hook) { l.hook.Store(&h) }

// Drop loses frame n, counted from 0, as no transport should.
func Drop(n int64) Hook {
	var seen atomic.Int64
	return func(context.Context, *allreduce.Frame) bool { return seen.Add(1)-1 != n }
}

// Corrupt flips one bit of frame n, counted from 0: of the payload, or of the checksum if there is none.
func Corrupt(n int64) Hook {
	var seen atomic.Int64
	return func(_ context.Context, f *allreduce.Frame) bool {
		if seen.Add(1)-1 != n {
			return true
		}
		if all := f.Payload[0]; len(all) > 0 { // a copy is in one piece
			all[len(all)/2] ^= 0x10
		} else {
			f.CRC ^= 1
		}
		return true
	}
}

// Alter lets change alter every frame, for example its tag.
func Alter(change func(*allreduce.Frame)) Hook {
	return func(_ context.Context, f *allreduce.Frame) bool {
		change(f)
		return true
	}
}

// Cut breaks the link as a lost connection does: no cause travels, and what was under way is lost.
func (l *Link) Cut() {
	l.end(ErrCut, false)
	l.peer.end(ErrCut, false)
}

// Freeze makes this end silent for good, as a stopped process is: neither frames nor beats leave it, and its Send hangs until the link ends.
func (l *Link) Freeze() { l.freeze.Do(func() { close(l.frozen) }) }

func (l *Link) isFrozen() bool {
	select {
	case <-l.frozen:
		return true
	default:
		return false
	}
}

func (l *Link) hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.Err()
	}
}
