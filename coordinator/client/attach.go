package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// ErrBacklog: more is waiting to be sent than an attachment keeps.
var ErrBacklog = errors.New("too many messages wait for a leader")

// ErrClosed: the attachment has ended.
var ErrClosed = errors.New("attachment is closed")

const (
	maxOutbox   = 256
	closingTime = time.Second // how long Close waits for what is queued to be delivered
)

// Event is what a worker hears from its attachment. Exactly one field is set.
type Event struct {
	// Connected: a leader knows the worker, on a new stream. Whatever was sent before may be lost: send again what it
	// still has to know (PartsWritten not yet answered, CheckpointFailed); Register has told it the Holding.
	Connected *rpcpb.Registered
	// Lost: the stream has ended, for this reason; another is being sought.
	Lost error
	// Message is anything else that the leader sent.
	Message *rpcpb.AttachResponse
}

// Attachment is a worker's stream to the leader, kept alive over changes of the leader.
type Attachment struct {
	c        *Client
	register func() *rpcpb.Register
	beat     func() uint64

	cancel  context.CancelFunc
	closing chan struct{}
	once    sync.Once
	done    chan struct{}
	events  chan Event
	err     error // why it ended; read after done

	mu    sync.Mutex
	queue []*rpcpb.AttachRequest
	wake  chan struct{} // capacity 1
}

// Attach keeps a worker attached until ctx ends, Close is called, or the cluster refuses it for good (a wrong token, a
// contradictory Register). register is called for the first message of every new stream, beat for every heartbeat; both from a
// goroutine of the attachment. The caller must receive from Events.
func (c *Client) Attach(ctx context.Context, register func() *rpcpb.Register, beat func() uint64) *Attachment {
	ctx, cancel := context.WithCancel(ctx)
	a := &Attachment{
		c: c, register: register, beat: beat, cancel: cancel,
		closing: make(chan struct{}), done: make(chan struct{}), events: make(chan Event, 64), wake: make(chan struct{}, 1),
	}
	go a.run(ctx)
	return a
}

// Events is closed when the attachment has ended; Err then says why.
func (a *Attachment) Events() <-chan Event { return a.events }

// Err is why the attachment ended: nil after Close. It is valid once Events is closed.
func (a *Attachment) Err() error { <-a.done; return a.err }

// Send queues a message; it does not wait. Of waiting Progress only the newest is kept.
func (a *Attachment) Send(m *rpcpb.AttachRequest) error {
	select {
	case <-a.done:
		return ErrClosed
	case <-a.closing:
		return ErrClosed
	default:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.GetProgress() != nil {
		for i, q := range a.queue {
			if q.GetProgress() != nil {
				a.queue[i] = m
				return nil
			}
		}
	}
	if len(a.queue) >= maxOutbox {
		return fmt.Errorf("send to leader: %w: %d", ErrBacklog, len(a.queue))
	}
	a.queue = append(a.queue, m)
	a.poke()
	return nil
}

// Close delivers what is queued if a leader is there (for at most a second), then ends the attachment.
func (a *Attachment) Close() error {
	a.once.Do(func() { close(a.closing) })
	<-a.done
	return a.err
}

func (a *Attachment) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Attachment) pop() *rpcpb.AttachRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		return nil
	}
	m := a.queue[0]
	a.queue = a.queue[1:]
	return m
}

func (a *Attachment) run(ctx context.Context) {
	defer a.cancel()
	defer close(a.done)
	defer close(a.events)
	stop := a.boundClosing(ctx)
	defer stop()
	h := a.c.hunt()
	told := time.Now()
	for {
		addr := h.next()
		connected, err := a.session(ctx, h, addr)
		if a.over(ctx, err) {
			return
		}
		if connected {
			told = time.Now()
			a.emit(ctx, Event{Lost: err})
		}
		if err := h.failed(ctx, addr, err); a.over(ctx, err) {
			return
		}
		if time.Since(told) > a.c.o.Attempt { // now and then say that nobody is found
			told = time.Now()
			a.emit(ctx, Event{Lost: h.report()})
		}
	}
}

// over decides whether the attachment has ended, and why.
func (a *Attachment) over(ctx context.Context, err error) bool {
	select {
	case <-a.closing:
		return true
	default:
	}
	if ctx.Err() != nil {
		a.err = ctx.Err()
		return true
	}
	if err != nil && final(err) {
		a.err = fmt.Errorf("attach to leader: %w", err)
		return true
	}
	return false
}

// boundClosing ends everything a while after Close was called. The returned function must be called; it waits.
func (a *Attachment) boundClosing(ctx context.Context) func() {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-a.closing:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(closingTime)
		defer t.Stop()
		select {
		case <-t.C:
			a.cancel()
		case <-ctx.Done():
		}
	}()
	return func() { a.cancel(); <-finished }
}

func (a *Attachment) emit(ctx context.Context, e Event) {
	select {
	case a.events <- e:
	case <-ctx.Done():
	}
}

type attachStream = rpcpb.CoordinatorService_AttachClient

// session is one stream at one coordinator. connected: the leader has taken the worker.
func (a *Attachment) session(ctx context.Context, h *hunt, addr string) (connected bool, err error) {
	conn, err := a.c.conn(addr)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	silence := time.AfterFunc(a.c.o.Attempt, cancel) // a leader that was cut off ends no stream: silence does
	defer silence.Stop()
	stream, err := rpcpb.NewCoordinatorServiceClient(conn).Attach(ctx)
	if err != nil {
		cancel()
		return false, explain(err)
	}
	sent := make(chan struct{})
	registered := make(chan time.Duration, 1)
	go func() {
		defer close(sent)
		a.send(ctx, stream, registered)
	}()
	defer func() { cancel(); <-sent }()
	for {
		m, err := stream.Recv()
		if err != nil {
			return connected, answer(err, stream.Trailer())
		}
		if r := m.GetRegistered(); r != nil && !connected {
			connected = true
			h.found(addr)
			registered <- time.Duration(r.HeartbeatMs) * time.Millisecond
			a.emit(ctx, Event{Connected: r})
		} else if m.GetHeartbeat() == nil {
			a.emit(ctx, Event{Message: m})
		}
		silence.Reset(a.c.o.Attempt)
	}
}

// send registers the worker, then sends heartbeats and what is queued. Errors are left to Recv, which knows the reason.
func (a *Attachment) send(ctx context.Context, stream attachStream, registered <-chan time.Duration) {
	if stream.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Register{Register: a.register()}}) != nil {
		return
	}
	var every time.Duration
	select {
	case every = <-registered:
	case <-ctx.Done():
		return
	}
	beats := time.NewTicker(max(every, 10*time.Millisecond))
	defer beats.Stop()
	for {
		for m := a.pop(); m != nil; m = a.pop() {
			if err := stream.Send(m); err != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-beats.C:
			err := stream.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Heartbeat{Heartbeat: &rpcpb.Heartbeat{Beat: a.beat()}}})
			if err != nil && !errors.Is(err, io.EOF) {
				return
			}
		case <-a.closing:
			for m := a.pop(); m != nil; m = a.pop() {
				if err := stream.Send(m); err != nil {
					return
				}
			}
			_ = stream.CloseSend() // the leader then ends the stream, and Recv returns
			return
		}
	}
}
