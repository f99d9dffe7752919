package allreduce

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader"
)

// BarrierBucket tags the frames of a barrier; sums use lower numbers.
const BarrierBucket = math.MaxUint32

// round is one collective operation as the ring sees it. In every hop each member sends one segment to the next and receives the segment before it
// from the previous; what it receives in one hop it sends in the next.
type round struct {
	tag    Tag // without hop and chunk
	hops   int
	chunks func(segment int) int
	// out is the memory of a chunk: what is sent, and as long as what must be received.
	out func(segment, chunk int) []byte
	// in takes a received chunk of the right length, and returns the checksum of the payload, and that of what becomes of it, which is sent in the next
	// hop. What it has done is undefined if the payload is corrupted.
	in func(hop, segment, chunk int, payload Payload) (sum, next uint32)
}

// reduce is a reduce-scatter, after which each member has the whole of one segment, followed by an all-gather.
func reduce[T number](ctx context.Context, g *Group, step ringleader.Step, bucket uint32, data []T, into combine[T]) error {
	if bucket >= BarrierBucket {
		return fmt.Errorf("reduce bucket %d: want less than %d", bucket, uint32(BarrierBucket))
	}
	p := partition{n: len(data), members: g.cfg.Size, chunk: g.cfg.ChunkBytes / sizeOf[T]()}
	chunk := func(segment, c int) []T {
		lo, hi := p.at(segment, c)
		return data[lo:hi]
	}
	return g.run(ctx, round{
		tag:    g.tag(step, bucket),
		hops:   2 * (g.cfg.Size - 1),
		chunks: p.chunks,
		out:    func(segment, c int) []byte { return bytesOf(chunk(segment, c)) },
		in: func(hop, segment, c int, payload Payload) (sum, next uint32) {
			if hop < g.cfg.Size-1 {
				return combinePayload(chunk(segment, c), payload, into)
			}
			sum = copyPayload(bytesOf(chunk(segment, c)), payload)
			return sum, sum
		},
	})
}

// barrier: after hop h a member knows that the h+1 members before it have begun.
func (g *Group) barrier(ctx context.Context, step ringleader.Step) error {
	return g.run(ctx, round{
		tag:    g.tag(step, BarrierBucket),
		hops:   g.cfg.Size - 1,
		chunks: func(int) int { return 1 },
		out:    func(int, int) []byte { return nil },
		in:     func(int, int, int, Payload) (sum, next uint32) { return 0, 0 },
	})
}

func (g *Group) tag(step ringleader.Step, bucket uint32) Tag {
	return Tag{Job: g.cfg.Job, Generation: g.cfg.Generation, Step: step, Bucket: bucket}
}

// segment is what a member sends in a hop; it receives the one before.
func (g *Group) segment(hop int) int {
	n := g.cfg.Size
	return ((int(g.cfg.Rank)-hop)%n + n) % n
}

// run receives, and sends what has been received as far as there is room: at once, while it is in this core's cache. What there is no room for is sent by another
// goroutine: with bounded links, members that all sent first would wait for each other for ever.
func (g *Group) run(ctx context.Context, r round) error {
	if !g.busy.CompareAndSwap(false, true) {
		return ErrBusy
	}
	defer g.busy.Store(false)
	if err := g.Err(); err != nil || g.cfg.Size == 1 {
		return err
	}
	o := newOutgoing(g, &r)
	sent := make(chan bool)
	go func() { sent <- o.sendAll(ctx) }()
	ok := g.receiveAll(ctx, &r, o)
	// Either side's failure ended the group, and with it the other side's wait.
	if !<-sent || !ok {
		return g.Err()
	}
	return nil
}

func (g *Group) receiveAll(ctx context.Context, r *round, o *outgoing) bool {
	for hop := range r.hops {
		segment := g.segment(hop + 1)
		for c := range r.chunks(segment) {
			f, err := g.prev.recv(ctx)
			if err != nil {
				g.failed(ctx, g.prev, err)
				return false
			}
			due := r.tag
			due.Hop, due.Chunk = uint32(hop), uint32(c)
			next, err := take(f, due, len(r.out(segment, c)), func() (sum, next uint32) { return r.in(hop, segment, c, f.Payload) })
			if err != nil {
				g.end(blame(g.prev, "refused a frame", err))
				return false
			}
			g.cfg.Beat.Add(1)
			o.pass(ctx, next)
		}
	}
	return true
}

// take lets in have the payload of a frame that is due, and checks it on the way.
func take(f *Frame, due Tag, length int, in func() (sum, next uint32)) (next uint32, err error) {
	if f.Tag != due || f.Payload.Len() != length {
		return 0, f.Check(due, length)
	}
	sum, next := in()
	return next, f.intact(sum, due)
}

// failed ends the group because a call on the link to n did not succeed. If it was the caller who gave up, nobody is to blame but whom the cause of that names.
func (g *Group) failed(ctx context.Context, n *neighbour, err error) {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		fault, cause := (*Fault)(nil), context.Cause(ctx)
		if !errors.As(cause, &fault) {
			fault = &Fault{How: "operation was given up", Err: cause}
		}
		g.end(fault)
		return
	}
	g.end(g.linkFault(n, err))
}
