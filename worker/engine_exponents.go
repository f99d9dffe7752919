package worker

import (
	"context"
	"slices"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// exponents are those that the blocks of the gradient convert by, for the reductions that have them. A step may take two passes: the first converts by what
// steps before it have seen; if an element of some shard is beyond that, which all members learn from the trailer, a second one converts by what the first has seen. What
// is seen is the maximum over all shards, so that the exponents, and which steps take two passes, are a function of the job.
type exponents struct {
	room int // bits above what was seen

	state []int8 // part of the engine's state, and guarded like it: what the coming step converts by
	found []int8 // what the one after it will, and the second pass does; Reduce has found it
	wide  bool   // this is the second pass

	used   device.I8   // what this pass converts by
	seen   []device.I8 // on each lane, of the largest elements of its shards in this pass
	lowest []int8      // what seen begins with
}

// Bits above the largest element of the step before, for what is larger in the next one. In words of 16 bits they cost precision, and are no more than it
// takes for second passes to be rare (docs/benchmarks.md).
const (
	room32 = 6
	room16 = 4
)

// openExponents makes room for exponents; nil if the reduction has none.
func (e *Engine) openExponents() (*exponents, error) {
	x := &exponents{}
	switch e.what.Reduction {
	case "exact32":
		x.room = room32
	case "exact16":
		x.room = room16
	default:
		return nil, nil
	}
	n := exact.Blocks(e.model.Size())
	x.state, x.found, x.lowest = exact.FirstExponents(n), make([]int8, n), slices.Repeat([]int8{exact.MinExponent}, n)
	var err error
	if x.used, err = device.Alloc[int8](e.dev, n); err != nil {
		return x, err
	}
	for range e.dev.Lanes() {
		seen, err := device.Alloc[int8](e.dev, n)
		if err != nil {
			return x, err
		}
		x.seen = append(x.seen, seen)
	}
	return x, nil
}

func (x *exponents) free(dev device.Device) {
	if x == nil {
		return
	}
	for _, b := range append(x.seen, x.used) {
		if b.Addr != 0 {
			dev.Free(b.Addr)
		}
	}
	x.seen, x.used = nil, device.I8{}
}

// by are what a pass converts by.
func (x *exponents) by(wide bool) []int8 {
	if wide {
		return x.found
	}
	return x.state
}

// begin begins a pass.
func (x *exponents) begin(lanes []*lane, wide bool) {
	if x == nil {
		return
	}
	x.wide = wide
	device.Upload(lanes[0].ops, x.used, x.by(wide))
	for i, l := range lanes {
		device.Upload(l.ops, x.seen[i], x.lowest)
		_ = l.ops.Sync() // waits; an error stays with the lane
	}
}

// reduce finds the next exponents from what all lanes of all members have seen.
func (x *exponents) reduce(ctx context.Context, lanes []*lane, group *allreduce.Group, step ringleader.Step) error {
	if x == nil {
		return nil
	}
	seen, part := make([]int8, len(x.state)), make([]int8, len(x.state))
	device.Download(lanes[0].ops, seen, x.seen[0])
	for i, l := range lanes[1:] {
		device.Download(l.ops, part, x.seen[i+1])
		for b, e := range part {
			seen[b] = max(seen[b], e)
		}
	}
	if err := group.MaxInt8(ctx, step, exponentBucket, seen); err != nil {
		return err
	}
	exact.NextExponents(x.found, x.state, seen, x.room)
	return nil
}

// mayWiden tells whether a second pass may follow.
func (x *exponents) mayWiden() bool { return x != nil && !x.wide }

// advance goes on to the next step.
func (x *exponents) advance() {
	if x != nil {
		copy(x.state, x.found)
	}
}

// words are what a pass converts by, as digests see it: those of the first pass are part of the state.
func (x *exponents) words(wide bool) []uint32 {
	if x == nil {
		return nil
	}
	return exact.ExponentWords(x.by(wide))
}

// count is the number of exponents.
func (x *exponents) count() int {
	if x == nil {
		return 0
	}
	return len(x.state)
}

// snapshot copies those of the state.
func (x *exponents) snapshot() []int8 {
	if x == nil {
		return nil
	}
	return slices.Clone(x.state)
}

// install takes exponents of another state; without any, nothing is known.
func (x *exponents) install(e []int8) {
	switch {
	case x == nil:
	case len(e) == 0:
		copy(x.state, exact.FirstExponents(len(x.state)))
	default:
		copy(x.state, e)
	}
}

// place takes over bytes of words that say exponents, from byte at on; bytes before the first word are somebody else's.
func (x *exponents) place(at int, data []byte) {
	if x == nil {
		return
	}
	for i, b := range data[min(max(0, -at), len(data)):] {
		if word := max(at, 0) + i; word%4 == 0 {
			x.state[word/4] = int8(b) // the others are 0
		}
	}
}
