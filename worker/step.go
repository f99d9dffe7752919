package worker

import (
	"context"
	"errors"
	"time"

	"github.com/ringleader-dev/ringleader/exact"
)

// step computes, sums, verifies and applies one update.
func (g *generation) step(ctx context.Context) (StepReport, error) {
	began := time.Now()
	r, tr := g.replica, g.trailer
	widened, err := g.pass(ctx, tr, false)
	if widened {
		_, err = g.pass(ctx, tr, true)
	}
	if err != nil {
		return StepReport{}, err
	}
	if err := r.Update(tr); err != nil {
		return StepReport{}, g.own(err)
	}
	return StepReport{
		Membership: g.membership(),
		Step:       r.step,
		Loss:       tr.Loss() / float64(max(tr.ValidUsers(), 1)),
		Users:      tr.Users(),
		Tokens:     tr.Tokens(),
		Seconds:    seconds(began),
		Widened:    widened,
	}, nil
}

// pass computes, sums and verifies. The first one may want a second, wide one, in which members wish what they wished in the first.
func (g *generation) pass(ctx context.Context, tr *exact.Trailer, wide bool) (again bool, err error) {
	tr.Reset()
	if err := g.compute(ctx, tr, wide); err != nil {
		return false, err
	}
	if !wide {
		g.wishes = g.takeWishes()
	}
	for _, f := range g.wishes {
		tr.Raise(f)
	}
	tr.SetDigest(g.rank, g.replica.Digest(wide))
	if err := g.trust(); err != nil {
		return false, err
	}
	if err := g.replica.Reduce(ctx, g.group, tr); err != nil {
		return false, g.own(err)
	}
	// Whether the job itself went wrong is asked last: a member's memory may be behind that, too.
	if err := g.agree(tr); err != nil {
		return false, err
	}
	if g.recomputes() {
		if err := g.crosscheck(ctx); err != nil {
			return false, err
		}
	}
	return g.replica.Verify(tr)
}

// compute runs this member's shards, for as long as the ring stands: what a sum cannot be made of any more is not worth computing. What is complete of the
// gradient is summed meanwhile.
func (g *generation) compute(ctx context.Context, tr *exact.Trailer, wide bool) error {
	ctx, end := g.standing(ctx)
	began := time.Now()
	g.replica.Begin(Pass{Wide: wide, Hashes: g.recomputes()})
	early := make(chan error, 1)
	go func() { early <- g.sumEarly(ctx) }()
	err := g.replica.Compute(ctx, tr, g.shards)
	tr.SetPace(g.rank, time.Since(began)/time.Duration(max(len(g.shards), 1)))
	if err != nil {
		err = end(g.own(err)) // which the ring tells the others
	}
	if sum := <-early; err == nil && sum != nil {
		err = g.own(sum)
	}
	return end(err)
}

// standing is ctx, for as long as the ring stands. end ends it, and returns the reason of the ring's end instead of an error that only came of that.
func (g *generation) standing(ctx context.Context) (_ context.Context, end func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-g.group.Done():
			cancel(g.group.Err())
		case <-ctx.Done():
		}
	}()
	return ctx, func(err error) error {
		cancel(err)
		<-watched
		if fault := g.group.Err(); fault != nil && errors.Is(err, context.Canceled) {
			return fault
		}
		return err
	}
}

// sumEarly: alone there is nothing to wait for.
func (g *generation) sumEarly(ctx context.Context) error {
	if g.size == 1 {
		return nil
	}
	return g.replica.SumEarly(ctx, g.group)
}
