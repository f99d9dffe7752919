package allreduce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader"
)

// ErrBusy is returned by an operation that begins while another one runs; the group lives on.
var ErrBusy = errors.New("another operation of this group is running")

// Group is one member's end of the ring of one generation.
//
// All members call the same operations in the same order with slices of the same length. The first error, wherever it happens, ends the
// group: all links are closed at once, every operation returns a *Fault from then on, and the data of an operation that it interrupted is undefined.
// Close must be called in any case. Methods may be called from any goroutine; operations one at a time.
type Group struct {
	cfg        Config
	next, prev *neighbour // nil in a ring of one
	busy       atomic.Bool

	done    chan struct{}
	running sync.WaitGroup // watch, and closing of links

	mu    sync.Mutex
	fault *Fault // non-nil once done is closed
}

// NewGroup makes a group of this member's two links: next carries its frames to rank+1, prev brings those of rank-1. The group
// owns them from now on, also if an error is returned. In a ring of one both are nil.
func NewGroup(cfg Config, next, prev Link) (*Group, error) {
	if err := checkGroup(cfg, next, prev); err != nil {
		err = fmt.Errorf("new group: %w", err)
		for _, l := range []Link{next, prev} {
			if l != nil {
				err = errors.Join(err, l.Close(err))
			}
		}
		return nil, err
	}
	g := &Group{cfg: cfg, done: make(chan struct{})}
	if cfg.Size > 1 {
		n := ringleader.Rank(cfg.Size)
		g.next = &neighbour{rank: (cfg.Rank + 1) % n, link: next}
		g.prev = &neighbour{rank: (cfg.Rank + n - 1) % n, link: prev}
		g.running.Go(g.watch)
	}
	return g, nil
}

func checkGroup(cfg Config, next, prev Link) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if want := cfg.Size > 1; (next != nil) != want || (prev != nil) != want {
		return fmt.Errorf("ring of size %d: want two links, or none in a ring of one", cfg.Size)
	}
	return nil
}

// SumInt64 replaces data by its sum over all members, mod 2^64: the same bits whatever the order, the number of members or the chunks.
// It blocks until the sum is complete. Buckets are numbers that members agree on, below BarrierBucket.
func (g *Group) SumInt64(ctx context.Context, step ringleader.Step, bucket uint32, data []int64) error {
	return reduce(ctx, g, step, bucket, data, add)
}

// SumInt32 is SumInt64 mod 2^32.
func (g *Group) SumInt32(ctx context.Context, step ringleader.Step, bucket uint32, data []int32) error {
	return reduce(ctx, g, step, bucket, data, add)
}

// SumInt16 is SumInt64 mod 2^16.
func (g *Group) SumInt16(ctx context.Context, step ringleader.Step, bucket uint32, data []int16) error {
	return reduce(ctx, g, step, bucket, data, add)
}

// SumFloat32 replaces data by its sum over all members: the same bits in all members, but not for another number of members.
func (g *Group) SumFloat32(ctx context.Context, step ringleader.Step, bucket uint32, data []float32) error {
	return reduce(ctx, g, step, bucket, data, add)
}

// SumBFloat16 is SumFloat32 of bfloat16 numbers, given as their bits: every addition on the way is rounded to bfloat16.
func (g *Group) SumBFloat16(ctx context.Context, step ringleader.Step, bucket uint32, data []uint16) error {
	return reduce(ctx, g, step, bucket, data, addBFloat16)
}

// MaxInt8 replaces each element of data by the largest of all members'.
func (g *Group) MaxInt8(ctx context.Context, step ringleader.Step, bucket uint32, data []int8) error {
	return reduce(ctx, g, step, bucket, data, larger)
}

// Barrier returns when all members have called it.
func (g *Group) Barrier(ctx context.Context, step ringleader.Step) error {
	return g.barrier(ctx, step)
}

// Done is closed when the group has ended, also while no operation runs.
func (g *Group) Done() <-chan struct{} { return g.done }

// Err is nil while the group lives, and then the *Fault that ended it, which wraps ErrPlanned if that was a planned Close.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault == nil {
		return nil
	}
	return g.fault
}

// Close ends the group, unless it has ended already, and waits for its goroutines. The cause reaches the other members: nil or ErrPlanned
// means an end that all agreed on, after which what was sent still arrives; a *Fault passes its culprit on; any other error blames nobody. It is idempotent.
func (g *Group) Close(cause error) {
	if cause == nil {
		cause = ErrPlanned
	}
	if errors.Is(cause, ErrPlanned) {
		g.end(&Fault{How: "group was closed", Err: ErrPlanned})
	} else {
		g.end(faultOf(cause))
	}
	g.running.Wait()
}

// end records the first fault and closes both links.
func (g *Group) end(f *Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		return
	}
	g.fault = f
	close(g.done)
	for _, n := range []*neighbour{g.next, g.prev} {
		if n != nil {
			g.running.Go(func() {
				// A link that cannot even be closed properly is a broken link to its peer, which is what its peer will make of it.
				_ = n.link.Close(f)
			})
		}
	}
}
