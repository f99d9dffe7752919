package model

import (
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// sampling is an objective that draws its targets instead of taking all.
type sampling struct {
	newest    bool // only the newest position is trained
	next      bool // targets are of the next time that has positives, however far ahead; otherwise of the horizon
	labels    int  // targets of a position, at most, all different
	positions int  // random positions of a user that have a target; 0 = all
}

// maxLabels is PinnerFormer's bound for all_action.
const maxLabels = 32

// samplings are the objectives beside dense_all_action_exact.
var samplings = map[string]sampling{
	objectiveNext:      {newest: true, next: true, labels: 1},
	objectiveSASRec:    {next: true, labels: 1},
	objectiveAllAction: {newest: true, labels: maxLabels},
	objectiveDense:     {labels: 1},
}

// sample replaces the bands by drawn targets: token m's are target[lo[m]:hi[m]]. Draws are those of the users in order, of each user first the
// positions and then the targets, both in order of time.
func (g *goal) sample(b *dataset.Batch, s sampling, d *draws) {
	g.target = g.target[:0]
	for u := range b.User {
		from, to := b.Offset[u], b.Offset[u+1]
		g.restrict(b, s, u)
		g.thin(from, to, s.positions, d)
		for m := from; m < to; m++ {
			lo, hi := g.lo[m], g.hi[m]
			g.lo[m] = int32(len(g.target))
			c := choice{pick: s.labels, see: int(hi - lo)}
			for j := lo; j < hi; j++ {
				if c.next(d) {
					g.target = append(g.target, b.PosItem[j])
				}
			}
			g.hi[m] = int32(len(g.target))
		}
	}
}

// restrict leaves user u's tokens the targets that they may draw.
func (g *goal) restrict(b *dataset.Batch, s sampling, u int) {
	to, end := b.Offset[u+1], b.PosOffset[u+1]
	for m := b.Offset[u]; m < to; m++ {
		if s.next {
			g.hi[m] = g.lo[m]
			for g.hi[m] < end && b.PosTimeMS[g.hi[m]] == b.PosTimeMS[g.lo[m]] {
				g.hi[m]++
			}
		}
		if s.newest && m < to-1 {
			g.hi[m] = g.lo[m]
		}
	}
}

// thin leaves only some random ones of the tokens that have a target.
func (g *goal) thin(from, to int32, positions int, d *draws) {
	if positions == 0 {
		return
	}
	c := choice{pick: positions, see: g.count(from, to).tokens}
	for m := from; m < to; m++ {
		if g.hi[m] > g.lo[m] && !c.next(d) {
			g.hi[m] = g.lo[m]
		}
	}
}

// draws are the sampled labels of a shard: number i of the stream is the i-th draw.
type draws struct{ key, i uint64 }

func (d *draws) below(n int) int {
	x := counter.Below(d.key, d.i, n)
	d.i++
	return x
}

// choice picks so many of those that it is going to see, every set of them equally likely: each with probability (left to pick)/(left to see). Where all
// or none are left to pick, nothing is drawn.
type choice struct{ pick, see int }

func (c *choice) next(d *draws) bool {
	yes := c.pick >= c.see || c.pick > 0 && d.below(c.see) < c.pick
	c.see--
	c.pick -= btoi(yes)
	return yes
}
