package allreduce

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/ringleader-dev/ringleader"
)

// BarrierBucket tags the frames of a barrier; sums use lower numbers.
const BarrierBucket = math.MaxUint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// round is one collective operation as the ring sees it. In every hop each member sends one segment to the next and receives the segment before it
// from the previous; what it receives in one hop it sends in the next.
type round struct {
	tag    Tag // without hop and chunk
	hops   int
	chunks func(segment int) int
	// out is the memory of a chunk: what is sent, and as long as what must be received.
	out func(segment, chunk int) []byte
	// in takes a received chunk, verified and of the right length.
	in func(hop, segment, chunk int, payload Payload)
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
		in: func(hop, segment, c int, payload Payload) {
			if hop < g.cfg.Size-1 {
				combinePayload(chunk(segment, c), payload, into)
			} else {
				copyPayload(bytesOf(chunk(segment, c)), payload)
			}
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
		in:     func(int, int, int, Payload) {},
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

// run sends and receives at the same time: with bounded links, members that all sent first would wait for each other for ever.
func (g *Group) run(ctx context.Context, r round) error {
	if !g.busy.CompareAndSwap(false, true) {
		return ErrBusy
	}
	defer g.busy.Store(false)
	if err := g.Err(); err != nil || g.cfg.Size == 1 {
		return err
	}
	received := 0
	for hop := range r.hops {
		received += r.chunks(g.segment(hop + 1))
	}
	// One token for every chunk received: it may be sent on. There is room for all, so that receiving never waits for sending.
	ready := make(chan struct{}, received)
	sent := make(chan bool)
	go func() { sent <- g.sendAll(ctx, r, ready) }()
	ok := g.receiveAll(ctx, r, ready)
	// Either side's failure ended the group, and with it the other side's wait.
	if !<-sent || !ok {
		return g.Err()
	}
	return nil
}

func (g *Group) sendAll(ctx context.Context, r round, ready <-chan struct{}) bool {
	var scratch [TagBytes]byte
	for hop := range r.hops {
		segment := g.segment(hop)
		for c := range r.chunks(segment) {
			if hop > 0 {
				select {
				case <-ready:
				case <-g.done:
					return false
				}
			}
			f := Frame{Tag: r.tag, Payload: Payload{r.out(segment, c)}}
			f.Tag.Hop, f.Tag.Chunk = uint32(hop), uint32(c)
			f.CRC = checksum(scratch[:0], &f)
			if err := g.next.send(ctx, &f); err != nil {
				g.failed(ctx, g.next, err)
				return false
			}
			g.cfg.Beat.Add(1)
		}
	}
	return true
}

func (g *Group) receiveAll(ctx context.Context, r round, ready chan<- struct{}) bool {
	var scratch [TagBytes]byte
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
			if err := verify(scratch[:0], f, due, len(r.out(segment, c))); err != nil {
				g.end(blame(g.prev, "refused a frame", err))
				return false
			}
			r.in(hop, segment, c, f.Payload)
			g.cfg.Beat.Add(1)
			ready <- struct{}{}
		}
	}
	return true
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

func checksum(scratch []byte, f *Frame) uint32 {
	crc := crc32.Checksum(f.Tag.Append(scratch), castagnoli)
	for _, piece := range f.Payload {
		crc = crc32.Update(crc, castagnoli, piece)
	}
	return crc
}

// verify looks at the checksum first: nothing else of a corrupted frame means anything.
func verify(scratch []byte, f *Frame, due Tag, length int) error {
	if crc := checksum(scratch, f); crc != f.CRC {
		return fmt.Errorf("frame due as %s is corrupted: CRC32C %08x, want %08x", due, crc, f.CRC)
	}
	if f.Tag != due {
		return fmt.Errorf("frame of %s: want %s", f.Tag, due)
	}
	if n := f.Payload.Len(); n != length {
		return fmt.Errorf("frame of %s has %d bytes: want %d", f.Tag, n, length)
	}
	return nil
}
