package grpclink

import (
	"context"
	"runtime"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// queue is one end's view of the frames that travel through shared memory. What is said by way of the memory costs no system call: the stream rouses
// an end only if it has been waiting for longer than it takes to do so.
type queue struct {
	*memory
	at    uint64          // frames that this end has sent, or is done with
	frame allreduce.Frame // what Recv returned last
	held  bool            // its slot is not free yet
}

// queueOf is nil where no memory is shared.
func queueOf(m *memory) *queue {
	if m == nil {
		return nil
	}
	return &queue{memory: m}
}

// patience is how often an end looks before it sleeps: a matter of 20 microseconds, about what it costs to be roused.
const patience = 100

// room tells whether there is a free slot.
func (q *queue) room() bool { return q.at-q.taken.n.Load() < window }

// filled tells whether there is a frame.
func (q *queue) filled() bool { return q.sent.n.Load() != q.at }

// put sends a frame through memory.
func (l *link) put(ctx context.Context, f *allreduce.Frame) error {
	q := l.to
	if err := l.await(ctx, &q.taken, q.room); err != nil {
		return err
	}
	slot := int(q.at % window)
	f.CopyTo(q.slot(slot)[:f.Payload.Len()])
	putHeader(q.heads[slot][:], f)
	q.at++
	l.publish(&q.sent, q.at)
	return nil
}

// fetch gives back the slot of the frame before, and receives the next one from memory.
func (l *link) fetch(ctx context.Context) (*allreduce.Frame, error) {
	q := l.from
	if q.held {
		q.held = false
		q.at++
		l.publish(&q.taken, q.at)
	}
	if l.Err() == nil {
		if err := l.await(ctx, &q.sent, q.filled); err != nil && ctx.Err() != nil {
			return nil, err
		}
	}
	if !q.filled() || !l.delivers() {
		return nil, l.Err()
	}
	if q.sent.n.Load()-q.at > window {
		l.end(errCredit, false)
		return nil, l.Err()
	}
	slot := int(q.at % window)
	head := q.heads[slot] // a copy: what has been checked must not change
	n, err := parseHeader(&q.frame, head[:])
	if err != nil {
		l.end(err, false)
		return nil, l.Err()
	}
	q.frame.Payload = append(q.frame.Payload[:0], q.slot(slot)[:n])
	q.held = true
	return &q.frame, nil
}

// publish tells the peer how far this end is.
func (l *link) publish(c *counter, n uint64) {
	c.n.Store(n)
	if c.awaits.Load() != 0 && c.awaits.Swap(0) != 0 {
		_ = l.write(rouseMessage) // a stream that fails has ended; why, the reader is told, and nobody is blamed before
	}
}

// await returns nil when the peer has moved its counter so far that ready is true. Either the peer sees that it is awaited, or this end sees what the peer has done.
func (l *link) await(ctx context.Context, c *counter, ready func() bool) error {
	for range patience {
		if ready() {
			return nil
		}
		runtime.Gosched()
	}
	for {
		c.awaits.Store(1)
		if ready() {
			return nil
		}
		select {
		case <-l.roused:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.done:
			return l.Err()
		}
	}
}
