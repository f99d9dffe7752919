// Package memlink is a pair of links in memory whose faults can be injected: the twin of grpclink for tests, also on fake time.
package memlink

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// depth is how many frames of a direction the pair holds.
const depth = 4

// Link is one end of a pair. Its faults (see faults.go) apply to what this end sends.
type Link struct {
	peer *Link
	in   chan *allreduce.Frame // written by the peer's Send
	free chan *allreduce.Frame // frames that this end has read, for the peer to use again
	held *allreduce.Frame      // what Recv returned last
	beat atomic.Uint64         // newest from the peer
	done chan struct{}

	mu    sync.Mutex
	err   error // non-nil once done is closed
	drain bool  // the peer left as planned: what it sent before is still delivered

	faults
}

var _ allreduce.Link = (*Link)(nil)

// Pair returns the two ends of a link.
func Pair() (a, b *Link) {
	a, b = newLink(), newLink()
	a.peer, b.peer = b, a
	return a, b
}

func newLink() *Link {
	return &Link{
		in:     make(chan *allreduce.Frame, depth),
		free:   make(chan *allreduce.Frame, depth+1),
		done:   make(chan struct{}),
		faults: faults{frozen: make(chan struct{})},
	}
}

// Send implements allreduce.Link.
func (l *Link) Send(ctx context.Context, f *allreduce.Frame) error {
	if l.isFrozen() {
		return l.hang(ctx)
	}
	frame := l.copy(f)
	if hook := l.hook.Load(); hook != nil && !(*hook)(ctx, frame) {
		return l.Err()
	}
	if err := l.Err(); err != nil {
		return err
	}
	select {
	case l.peer.in <- frame:
		return nil
	case <-l.frozen:
		return l.hang(ctx)
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.Err()
	}
}

func (l *Link) copy(f *allreduce.Frame) *allreduce.Frame {
	var frame *allreduce.Frame
	select {
	case frame = <-l.peer.free:
	default:
		frame = &allreduce.Frame{Payload: allreduce.Payload{nil}}
	}
	frame.Payload[0] = slices.Grow(frame.Payload[0][:0], f.Payload.Len())[:f.Payload.Len()]
	f.CopyTo(frame.Payload[0])
	frame.Tag, frame.CRC = f.Tag, f.CRC
	return frame
}

// Room implements allreduce.Link.
func (l *Link) Room() bool { return !l.isFrozen() && len(l.peer.in) < depth }

// Recv implements allreduce.Link.
func (l *Link) Recv(ctx context.Context) (*allreduce.Frame, error) {
	l.recycle()
	if l.Err() != nil {
		return l.rest()
	}
	select {
	case l.held = <-l.in:
		return l.held, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return l.rest()
	}
}

// recycle gives back the frame that the last Recv returned.
func (l *Link) recycle() {
	if l.held == nil {
		return
	}
	select {
	case l.free <- l.held:
	default:
	}
	l.held = nil
}

// rest is what Recv returns after the end.
func (l *Link) rest() (*allreduce.Frame, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drain {
		select {
		case l.held = <-l.in:
			return l.held, nil
		default:
		}
	}
	return nil, l.err
}

// SendBeat implements allreduce.Link.
func (l *Link) SendBeat(beat uint64) {
	if !l.isFrozen() && l.Err() == nil {
		l.peer.beat.Store(beat)
	}
}

// Beat implements allreduce.Link.
func (l *Link) Beat() uint64 { return l.beat.Load() }

// Done implements allreduce.Link.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err implements allreduce.Link.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements allreduce.Link. What was sent is with the peer already.
func (l *Link) Close(cause error) error {
	if cause == nil {
		cause = allreduce.ErrPlanned
	}
	if l.end(cause, false) {
		// The peer learns what a real transport could tell it, and no more.
		told := allreduce.UnmarshalCause(allreduce.MarshalCause(cause))
		l.peer.end(told, told == allreduce.ErrPlanned)
	}
	return nil
}

// end reports whether this call ended it.
func (l *Link) end(err error, drain bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.err, l.drain = err, drain
	close(l.done)
	return true
}
