package worker

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

// compute runs the member's shards on all lanes and fills the trailer with what they report. Each lane keeps its own sum.
func (g *generation) compute(ctx context.Context, tr *exact.Trailer) error {
	r := g.replica
	var next atomic.Int64
	var mu sync.Mutex // of tr and first
	var first error
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		wg.Go(func() {
			l.reset()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(g.shards) {
					return
				}
				res, err := l.shard(r, r.step, g.shards[i])
				mu.Lock()
				if err == nil {
					record(tr, g.shards[i], res)
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
func record(tr *exact.Trailer, s ringleader.Shard, res shardResult) {
	tr.AddUsers(int64(res.visits))
	tr.AddValidUsers(int64(res.Users))
	tr.AddTokens(int64(res.Tokens))
	tr.AddLedger(res.ledger)
	tr.AddLoss(s, res.Loss)
	if res.nan > 0 {
		tr.MarkNaN(s)
	}
	if res.overflow > 0 {
		tr.MarkOverflow(s)
	}
}

// reduce sums the gradient and the trailer over the generation, and checks both. Afterwards sums (or floats) holds the sum over all shards.
func (g *generation) reduce(ctx context.Context, tr *exact.Trailer) error {
	r := g.replica
	if !r.exact() {
		gather(r.lanes, func(l *lane) device.F32 { return l.float }, r.floats, r.floatPart)
		for b, part := range inBuckets(r.floats) {
			if err := g.group.SumFloat32(ctx, r.step, uint32(b), part); err != nil {
				return err
			}
		}
		return g.reduceTrailer(ctx, tr)
	}
	gather(r.lanes, func(l *lane) device.I64 { return l.sum }, r.sums, r.sumPart)
	for b, part := range inBuckets(r.sums) {
		tr.SetBucketSum(b, exact.SumInt64(part))
		if err := g.group.SumInt64(ctx, r.step, uint32(b), part); err != nil {
			return err
		}
	}
	if err := g.reduceTrailer(ctx, tr); err != nil {
		return err
	}
	for b, part := range inBuckets(r.sums) {
		if err := tr.CheckBucketSum(b, exact.SumInt64(part)); err != nil {
			return err
		}
	}
	return nil
}

func (g *generation) reduceTrailer(ctx context.Context, tr *exact.Trailer) error {
	if err := tr.Seal(); err != nil {
		return err
	}
	if err := g.group.SumInt64(ctx, g.replica.step, trailerBucket, tr.Lanes()); err != nil {
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

// verify refuses a sum that no update may read.
func (g *generation) verify(tr *exact.Trailer) error {
	if s := tr.NaN(); len(s) > 0 {
		return &jobError{fmt.Errorf("step %d: NaN or infinity in the gradient of shards %v; the state at step %d is kept", g.replica.step+1, s, g.replica.step)}
	}
	if s := tr.Overflow(); len(s) > 0 {
		return &jobError{fmt.Errorf("step %d: gradient of shards %v exceeds the range of exact64 (%g); lower the learning rate or set optimizer.clip; the state at step %d is kept",
			g.replica.step+1, s, exact.Limit(g.replica.what.Shards), g.replica.step)}
	}
	if ranks := tr.Disagree(); len(ranks) > 0 {
		if slices.Contains(ranks, g.rank) {
			// Most agree that this one is wrong: it will get their state, and must not hand on its own. If nobody can tell who is
			// wrong, all forget, and the newest checkpoint counts.
			g.replica.forget()
		}
		return &allreduce.Fault{Culprit: ranks[0], HasCulprit: true, How: fmt.Sprintf("state differs from the other members' at step %d (ranks %v)", g.replica.step, ranks)}
	}
	return nil
}

// update applies the summed gradient. It starts only when everything has been verified, and is never interrupted.
func (g *generation) update(tr *exact.Trailer) error {
	r := g.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lanes[0]
	users := max(tr.ValidUsers(), 1)
	if r.exact() {
		device.Upload(l.ops, l.sum, r.sums)
		l.ops.FromFixed(l.grad, l.sum, float64(users))
	} else {
		inv := float32(1 / float64(users))
		for i := range r.floats {
			r.floats[i] *= inv
		}
		device.Upload(l.ops, l.grad, r.floats)
	}
	st := model.State{Params: r.params, Moment1: r.m1, Moment2: r.m2, Beta1Power: r.scalars.Beta1Power, Beta2Power: r.scalars.Beta2Power}
	if _, err := r.model.Update(l.ops, &st, l.grad, int64(r.step), int64(r.steps)); err != nil {
		return &jobError{err} // nothing was changed
	}
	r.momentHash = r.hashMoments()
	if err := l.ops.Sync(); err != nil {
		// The device failed halfway through an update: its state is no state any more.
		r.step = noState
		return fmt.Errorf("update: %w", err)
	}
	r.scalars.Beta1Power, r.scalars.Beta2Power = st.Beta1Power, st.Beta2Power
	r.scalars.Ledger += tr.Ledger()
	r.scalars.Users += uint64(tr.Users())
	r.scalars.Tokens += uint64(tr.Tokens())
	r.step++
	return nil
}

// step computes, sums, verifies and applies one update.
func (g *generation) step(ctx context.Context) (StepReport, error) {
	began := time.Now()
	r, tr := g.replica, g.trailer
	tr.Reset()
	if err := g.compute(ctx, tr); err != nil {
		return StepReport{}, g.own(err)
	}
	g.raiseFlags(tr)
	tr.SetDigest(g.rank, r.stateDigest())
	if err := g.reduce(ctx, tr); err != nil {
		return StepReport{}, err
	}
	if err := g.verify(tr); err != nil {
		return StepReport{}, err
	}
	if err := g.update(tr); err != nil {
		return StepReport{}, g.own(err)
	}
	return StepReport{
		Membership: g.membership(),
		Step:       r.step,
		Loss:       tr.Loss() / float64(max(tr.ValidUsers(), 1)),
		Users:      tr.Users(),
		Tokens:     tr.Tokens(),
		Seconds:    seconds(began),
	}, nil
}

// buckets is the number of buckets of a flat vector of n elements.
func buckets(n int) int { return (n + bucketElements - 1) / bucketElements }
