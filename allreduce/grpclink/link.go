package grpclink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// window is how many frames of a direction may be on their way or in use. The receiver grants credit for as many as it has room for, so its
// reader never waits and what is beside the frames (beats, the end) is never stuck behind them.
const window = 4

// linger bounds the time that a closed link spends on telling its peer.
const linger = time.Second

// stream is what a client's and a server's stream have in common.
type stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// link is one end; both are alike. Three goroutines serve it: read, write, and serve, which on the server is the handler's.
type link struct {
	stream stream
	path   string        // unix or tcp, as far as the transport says
	to     *queue        // what frames are sent through instead of the stream; nil: nothing
	from   *queue        // what frames come through that are not in the stream
	roused chan struct{} // the peer has moved its counter in shared memory

	credit chan struct{}  // one for every frame that may be sent
	outbox chan *message  // frames for write; has room for the whole window
	inbox  chan *received // frames from read; has room for the whole window
	spare  chan *received // frames for read to use again
	held   *received      // what Recv returned last

	writing sync.Mutex    // sending of the stream
	wake    chan struct{} // there is a beat or credit to send
	owed    atomic.Uint64 // credit not yet granted to the peer
	beatOut atomic.Uint64
	beatIn  atomic.Uint64

	done    chan struct{} // the link has ended
	written chan struct{} // write has returned
	read    chan struct{} // read has returned
	gone    chan struct{} // serve has returned

	mu      sync.Mutex
	err     error // non-nil once done is closed
	mine    bool  // ended by this side's Close
	flushed bool  // the end has been written and noticed by the peer
}

var _ allreduce.Link = (*link)(nil)

func newLink(s stream, path string) *link {
	l := &link{
		path:    path,
		stream:  s,
		roused:  make(chan struct{}, 1),
		credit:  make(chan struct{}, window),
		outbox:  make(chan *message, window),
		inbox:   make(chan *received, window),
		spare:   make(chan *received, window+2),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		written: make(chan struct{}),
		read:    make(chan struct{}),
		gone:    make(chan struct{}),
	}
	for range window {
		l.credit <- struct{}{}
	}
	return l
}

// Send implements allreduce.Link.
func (l *link) Send(ctx context.Context, f *allreduce.Frame) error {
	if n := f.Payload.Len(); n > allreduce.MaxPayload {
		return fmt.Errorf("send frame of %d bytes: want at most %d", n, allreduce.MaxPayload)
	}
	if err := l.Err(); err != nil {
		return err
	}
	if l.to != nil {
		return l.put(ctx, f)
	}
	select {
	case <-l.credit:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return l.Err()
	}
	// Never waits: credit is room.
	l.outbox <- frameMessage(f)
	return nil
}

// Room implements allreduce.Link.
func (l *link) Room() bool {
	if l.to != nil {
		return l.to.room()
	}
	return len(l.credit) > 0
}

// Recv implements allreduce.Link.
func (l *link) Recv(ctx context.Context) (*allreduce.Frame, error) {
	if l.from != nil {
		return l.fetch(ctx)
	}
	l.recycle()
	if l.Err() != nil {
		return l.rest()
	}
	select {
	case l.held = <-l.inbox:
		return &l.held.Frame, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return l.rest()
	}
}

// recycle gives back the frame that the last Recv returned, and grants credit for another one in its place.
func (l *link) recycle() {
	if l.held != nil {
		l.held.release()
		l.owed.Add(1)
		l.signal()
		select {
		case l.spare <- l.held:
		default:
		}
		l.held = nil
	}
}

// rest is what Recv returns after the end.
func (l *link) rest() (*allreduce.Frame, error) {
	if l.delivers() {
		select {
		case l.held = <-l.inbox:
			return &l.held.Frame, nil
		default:
		}
	}
	return nil, l.Err()
}

// delivers tells whether what has come is still received: not after an end, unless that was the peer's and planned.
func (l *link) delivers() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil || !l.mine && errors.Is(l.err, allreduce.ErrPlanned)
}

// SendBeat implements allreduce.Link.
func (l *link) SendBeat(beat uint64) {
	l.beatOut.Store(beat)
	l.signal()
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Beat implements allreduce.Link.
func (l *link) Beat() uint64 { return l.beatIn.Load() }

// Done implements allreduce.Link.
func (l *link) Done() <-chan struct{} { return l.done }

// Err implements allreduce.Link.
func (l *link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements allreduce.Link.
func (l *link) Close(cause error) error {
	if cause == nil {
		cause = allreduce.ErrPlanned
	}
	l.end(cause, true)
	if !errors.Is(cause, allreduce.ErrPlanned) {
		return nil
	}
	<-l.gone
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mine && !l.flushed {
		return fmt.Errorf("close link: peer has not noticed within %s", linger)
	}
	return nil
}

// end records the first end only.
func (l *link) end(err error, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err, l.mine = err, mine
		close(l.done)
	}
}

// serve runs the link until it has ended and the peer knows, or has had its time. The stream must be ended afterwards, which also ends a read or
// write that is stuck.
func (l *link) serve() {
	defer close(l.gone)
	go l.readAll()
	go l.writeAll()
	<-l.done
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for _, part := range []<-chan struct{}{l.written, l.read} {
		select {
		case <-part:
		case <-timer.C:
			return
		}
	}
	l.mu.Lock()
	l.flushed = true
	l.mu.Unlock()
}
