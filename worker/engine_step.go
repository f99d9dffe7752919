package worker

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

// Bucket is how many of a gradient's n elements, which travel in words of so many bytes, the ring sums at a time: few enough that the first travel while the last are
// computed, enough to fill the pipe (2 MiB), and, for exponents, whole blocks. No bit of an exact sum depends on it.
func Bucket(n, wordBytes int) int {
	return min(max(exact.Blocks(n/16)*exact.BlockElements, 2<<20/wordBytes), 1<<20)
}

// The numbers of the sums that carry no gradient. Rounds of settling count on from theirs.
const (
	trailerBucket  = 1 << 30
	greetingBucket = 1<<30 + 1
	exponentBucket = 1<<30 + 2
	proofBucket    = 1<<30 + 3
	hashBucket     = 1<<30 + 4 // and the two after it
	settleBucket   = 1 << 31
)

// NewTrailer is what a step's sums travel with, in a gang of the given size.
func (e *Engine) NewTrailer(size int) *exact.Trailer {
	return exact.NewTrailer(size, e.what.Shards, (e.model.Size()+e.bucket-1)/e.bucket)
}

// Pass is what is special about a pass over a step's shards.
type Pass struct {
	Wide   bool // Verify wanted it again
	Hashes bool // keep hashes of shards' gradients, for Recompute to be compared with
}

// Begin begins a pass.
func (e *Engine) Begin(p Pass) {
	e.hashing = p.Hashes
	e.exponents.begin(e.lanes, p.Wide)
	e.sum.begin()
}

// Compute runs shards on all lanes and fills the trailer with what they report. Each lane keeps its own sum. When ctx ends, shards are left unfinished.
func (e *Engine) Compute(ctx context.Context, tr *exact.Trailer, shards []ringleader.Shard) error {
	var mu sync.Mutex // of tr and e.hashes
	clear(e.hashes)
	return e.deal(ctx, shards, func(l *lane, hand iter.Seq[ringleader.Shard], last func() bool) error {
		defer e.sum.finish(l)
		e.sum.reset(l)
		for s := range hand {
			res, err := l.shard(ctx, e, s, last)
			if err != nil {
				return err
			}
			mu.Lock()
			record(tr, s, res)
			e.hashes[s] = int64(res.hash)
			mu.Unlock()
		}
		return nil
	})
}

// deal gives each lane a hand of shards, as fast as it plays them; last tells a lane that there will be no more. It returns the first error.
func (e *Engine) deal(ctx context.Context, shards []ringleader.Shard, play func(l *lane, hand iter.Seq[ringleader.Shard], last func() bool) error) error {
	var next atomic.Int64
	hand := func(yield func(ringleader.Shard) bool) {
		for ctx.Err() == nil {
			if i := int(next.Add(1)) - 1; i >= len(shards) || !yield(shards[i]) {
				return
			}
		}
	}
	last := func() bool { return int(next.Load()) >= len(shards) }
	var lanes errgroup.Group
	for _, l := range e.lanes {
		lanes.Go(func() error { return play(l, hand, last) })
	}
	if err := lanes.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// record adds one shard's result to the trailer.
func record(tr *exact.Trailer, s ringleader.Shard, res ShardResult) {
	tr.AddUsers(int64(res.Visits))
	tr.AddValidUsers(int64(res.Users))
	tr.AddTokens(int64(res.Tokens))
	tr.AddLedger(res.Ledger)
	tr.AddLoss(s, res.Loss)
	if res.nan >= 0 {
		tr.MarkNaN(s, res.nan)
	}
	if res.overflow >= 0 {
		tr.MarkOverflow(s, res.overflow)
	}
}

// SumEarly may run beside Compute: it sums what is complete of the gradient over lanes and members, for as long as there are shards being computed. It ends when Compute does, or
// with the group or ctx.
func (e *Engine) SumEarly(ctx context.Context, group *allreduce.Group) error {
	return e.sum.early(ctx, group)
}

// Reduce sums the rest of the gradient, and the trailer, over lanes and members, and checks both.
func (e *Engine) Reduce(ctx context.Context, group *allreduce.Group, tr *exact.Trailer) error {
	if err := e.sum.reduce(ctx, group, tr); err != nil {
		return err
	}
	if err := e.exponents.reduce(ctx, e.lanes, group, e.step); err != nil {
		return err
	}
	if err := reduceTrailer(ctx, group, e.step, trailerBucket, tr); err != nil {
		return err
	}
	return e.sum.check(tr)
}

func reduceTrailer(ctx context.Context, group *allreduce.Group, step ringleader.Step, bucket uint32, tr *exact.Trailer) error {
	if err := tr.Seal(); err != nil {
		return err
	}
	if err := group.SumInt64(ctx, step, bucket, tr.Lanes()); err != nil {
		return err
	}
	return tr.Check()
}

// Verify refuses a sum that no update may read, because a shard handed on what cannot be summed. If it could be in a second, wider pass, it says that this
// must be done: again. All members say the same.
func (e *Engine) Verify(tr *exact.Trailer) (again bool, err error) {
	tensors := e.model.Tensors()
	if bad := tr.NaN(); len(bad) > 0 {
		return false, &jobError{fmt.Errorf("step %d: %s", e.step+1, badStep("NaN", bad, tensors))}
	}
	bad := tr.Overflow()
	if len(bad) == 0 {
		return false, nil
	}
	if e.exponents.mayWiden() && !slices.ContainsFunc(bad, func(b exact.Bad) bool { return b.Loss }) {
		return true, nil
	}
	what := "infinity"
	if most := e.sum.most(); !math.IsInf(float64(most), 0) {
		what = fmt.Sprintf("infinity or a value beyond the range of %s (%g)", e.what.Reduction, most)
	}
	return false, &jobError{fmt.Errorf("step %d: %s; lower what.optimizer.lr, or, if it is so from the start, what.users_per_shard", e.step+1, badStep(what, bad, tensors))}
}

// Update applies the summed gradient. It starts only when everything has been verified, and is never interrupted.
func (e *Engine) Update(tr *exact.Trailer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	grad := e.lanes[0].grad
	e.mean(grad, max(tr.ValidUsers(), 1))
	st := model.State{Params: e.params, Moment1: e.m1, Moment2: e.m2, Beta1Power: e.scalars.Beta1Power, Beta2Power: e.scalars.Beta2Power, Hashes: e.proofs}
	spread := func(n int, do func(l device.Lane, lo, hi int)) {
		e.spread(n, func(l *lane, lo, hi int) { do(l.ops, lo, hi) })
	}
	if _, err := e.model.Update(spread, &st, grad, int64(e.step), int64(e.steps)); err != nil {
		return &jobError{err} // nothing was changed
	}
	e.wrote()
	if err := e.sync(); err != nil {
		// The device failed halfway through an update: its state is no state any more.
		e.step = noState
		return fmt.Errorf("update: %w", err)
	}
	e.scalars.Beta1Power, e.scalars.Beta2Power = st.Beta1Power, st.Beta2Power
	e.scalars.Ledger += tr.Ledger()
	e.scalars.Users += uint64(tr.Users())
	e.scalars.Tokens += uint64(tr.Tokens())
	e.exponents.advance()
	e.step++
	return nil
}

// mean writes what Reduce summed, divided by the number of users, to grad.
func (e *Engine) mean(grad device.F32, users int64) {
	e.spread(grad.N, func(l *lane, lo, hi int) { e.sum.mean(l, grad, lo, hi, users) })
}
