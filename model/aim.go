package model

import (
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/internal/counter"
	"github.com/ringleader-dev/ringleader/job"
)

// aim says what each token is to predict and with which weight, and returns the number of users that have any target.
func (g *goal) aim(b *dataset.Batch, m *Model) (users int) {
	g.bands(b, m.horizon)
	loss := &m.what.Loss
	if s, sampled := samplings[loss.Objective]; sampled {
		s.positions = loss.Positions
		g.sample(b, s, &draws{key: counter.Key(m.what.Seed, counter.Label, uint64(b.Step), uint64(b.Shard))})
	} else {
		g.target = append(g.target[:0], b.PosItem...)
	}
	g.weight = slices.Grow(g.weight[:0], len(g.lo))[:len(g.lo)]
	for u := range b.User {
		users += btoi(g.weigh(b.Offset[u], b.Offset[u+1], loss))
	}
	return users
}

// bands finds the positives that each token's horizon holds; lo is the first later one also if there is none. Times do not decrease within a user, neither of
// tokens nor of positives, so both ends of the band only move forward.
func (g *goal) bands(b *dataset.Batch, horizon int64) {
	t := len(b.Item)
	g.lo, g.hi = slices.Grow(g.lo[:0], t)[:t], slices.Grow(g.hi[:0], t)[:t]
	for u := range b.User {
		end := b.PosOffset[u+1]
		lo, hi := b.PosOffset[u], b.PosOffset[u]
		for m := b.Offset[u]; m < b.Offset[u+1]; m++ {
			now := b.TimeMS[m]
			for lo < end && b.PosTimeMS[lo] <= now { // strictly later: an action is not its own target
				lo++
			}
			for hi = max(hi, lo); hi < end && b.PosTimeMS[hi] <= now+horizon; {
				hi++
			}
			g.lo[m], g.hi[m] = lo, hi
		}
	}
}

// weigh gives the pairs of a user's tokens weights that add up to 1, and says whether there are any.
//
// With newest_weight equal the newest token has one half and all others share the other half, as they would share the whole without it. A user
// for whom one of these sides is empty is weighed as if it said one.
func (g *goal) weigh(from, to int32, loss *job.Loss) bool {
	last := max(from, to-1)
	rest := g.count(from, last)
	newest := g.count(last, to)
	if loss.NewestWeight == newestEqual && rest.tokens > 0 && newest.tokens > 0 {
		g.share(from, last, .5, rest, loss.Weights)
		g.share(last, to, .5, newest, loss.Weights)
		return true
	}
	all := tally{rest.tokens + newest.tokens, rest.pairs + newest.pairs}
	g.share(from, to, 1, all, loss.Weights)
	return all.tokens > 0
}

// tally counts tokens that have a target, and their pairs.
type tally struct{ tokens, pairs int }

func (g *goal) count(from, to int32) (c tally) {
	for m := from; m < to; m++ {
		n := int(g.hi[m] - g.lo[m])
		c.pairs += n
		c.tokens += btoi(n > 0)
	}
	return c
}

// share divides total among the pairs of the tokens from..to-1, whose tally is c.
func (g *goal) share(from, to int32, total float64, c tally, weights string) {
	for m := from; m < to; m++ {
		n := int(g.hi[m] - g.lo[m])
		switch {
		case n == 0:
			g.weight[m] = 0
		case weights == weightsPairs:
			g.weight[m] = float32(total / float64(c.pairs))
		default:
			g.weight[m] = float32(total / (float64(c.tokens) * float64(n)))
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
