package worker

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

// bucketElements is the size of a bucket: large enough to fill the pipe, small enough to overlap.
const bucketElements = 1 << 20

// The numbers of the sums that carry no gradient. Rounds of settling count on from theirs.
const (
	trailerBucket  = 1 << 30
	greetingBucket = 1<<30 + 1
	settleBucket   = 1 << 31
)

// NewTrailer is what a step's sums travel with, in a gang of the given size.
func (e *Engine) NewTrailer(size int) *exact.Trailer {
	return exact.NewTrailer(size, e.what.Shards, (e.model.Size()+bucketElements-1)/bucketElements)
}

// Compute runs shards on all lanes and fills the trailer with what they report. Each lane keeps its own sum.
func (e *Engine) Compute(ctx context.Context, tr *exact.Trailer, shards []ringleader.Shard) error {
	var next atomic.Int64
	var mu sync.Mutex // of tr and first
	var first error
	var wg sync.WaitGroup
	for _, l := range e.lanes {
		wg.Go(func() {
			l.reset()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(shards) {
					return
				}
				res, err := l.shard(e, shards[i])
				mu.Lock()
				if err == nil {
					record(tr, shards[i], res)
				} else if first == nil {
					first = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if first == nil {
		first = ctx.Err()
	}
	return first
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

// Reduce sums the gradient and the trailer over lanes and members, and checks both.
func (e *Engine) Reduce(ctx context.Context, group *allreduce.Group, tr *exact.Trailer) error {
	if !e.exact() {
		gather(e.lanes, func(l *lane) device.F32 { return l.float }, e.floats, e.floatPart)
		for b, part := range inBuckets(e.floats) {
			if err := group.SumFloat32(ctx, e.step, uint32(b), part); err != nil {
				return err
			}
		}
		return reduceTrailer(ctx, group, e.step, trailerBucket, tr)
	}
	gather(e.lanes, func(l *lane) device.I64 { return l.sum }, e.sums, e.sumPart)
	for b, part := range inBuckets(e.sums) {
		tr.SetBucketSum(b, exact.SumInt64(part))
		if err := group.SumInt64(ctx, e.step, uint32(b), part); err != nil {
			return err
		}
	}
	if err := reduceTrailer(ctx, group, e.step, trailerBucket, tr); err != nil {
		return err
	}
	for b, part := range inBuckets(e.sums) {
		if err := tr.CheckBucketSum(b, exact.SumInt64(part)); err != nil {
			return err
		}
	}
	return nil
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

// inBuckets cuts a flat vector into buckets.
func inBuckets[T any](flat []T) iter.Seq2[int, []T] {
	return func(yield func(int, []T) bool) {
		b := 0
		for part := range slices.Chunk(flat, bucketElements) {
			if !yield(b, part) {
				return
			}
			b++
		}
	}
}

// gather adds the lanes' sums into dst, in order of lanes; of all but the first a part is on the host at a time.
func gather[T int64 | float32](lanes []*lane, sum func(*lane) device.Buf[T], dst, part []T) {
	device.Download(lanes[0].ops, dst, sum(lanes[0]))
	for _, l := range lanes[1:] {
		for lo := 0; lo < len(dst); lo += len(part) {
			hi := min(lo+len(part), len(dst))
			device.Download(l.ops, part[:hi-lo], sum(l).Slice(lo, hi))
			for i, x := range part[:hi-lo] {
				dst[lo+i] += x
			}
		}
	}
}

// Verify refuses a sum that no update may read, because a shard handed on what cannot be summed. All members say the same.
func (e *Engine) Verify(tr *exact.Trailer) error {
	tensors := e.model.Tensors()
	if bad := tr.NaN(); len(bad) > 0 {
		return &jobError{fmt.Errorf("step %d: %s", e.step+1, badStep("NaN", bad, tensors))}
	}
	if bad := tr.Overflow(); len(bad) > 0 {
		what := "infinity"
		if e.exact() {
			what = fmt.Sprintf("infinity or a value beyond the range of exact64 (%g)", exact.Limit(e.what.Shards))
		}
		return &jobError{fmt.Errorf("step %d: %s; lower what.optimizer.lr, or, if it is so from the start, what.users_per_shard", e.step+1, badStep(what, bad, tensors))}
	}
	return nil
}

// Update applies the summed gradient. It starts only when everything has been verified, and is never interrupted.
func (e *Engine) Update(tr *exact.Trailer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[0]
	users := max(tr.ValidUsers(), 1)
	if e.exact() {
		device.Upload(l.ops, l.sum, e.sums)
		l.ops.FromFixed(l.grad, l.sum, float64(users))
	} else {
		inv := float32(1 / float64(users))
		for i := range e.floats {
			e.floats[i] *= inv
		}
		device.Upload(l.ops, l.grad, e.floats)
	}
	st := model.State{Params: e.params, Moment1: e.m1, Moment2: e.m2, Beta1Power: e.scalars.Beta1Power, Beta2Power: e.scalars.Beta2Power}
	if _, err := e.model.Update(l.ops, &st, l.grad, int64(e.step), int64(e.steps)); err != nil {
		return &jobError{err} // nothing was changed
	}
	e.momentHash = e.hashMoments()
	if err := l.ops.Sync(); err != nil {
		// The device failed halfway through an update: its state is no state any more.
		e.step = noState
		return fmt.Errorf("update: %w", err)
	}
	e.scalars.Beta1Power, e.scalars.Beta2Power = st.Beta1Power, st.Beta2Power
	e.scalars.Ledger += tr.Ledger()
	e.scalars.Users += uint64(tr.Users())
	e.scalars.Tokens += uint64(tr.Tokens())
	e.step++
	return nil
}
