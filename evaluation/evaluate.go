package evaluation

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// scorer gives every item a score for some members of the population: dst[j][i] = score of item i for member which[j]. All of dst is
// overwritten. Scorers are called from several goroutines at once, and must give a member the same scores whoever it is asked with.
type scorer interface {
	scores(which []int, dst [][]float64) error
}

// outcome is what one ranking gives one member.
type outcome struct {
	recall  float64
	targets int // 0: the member has none, and no recall
	top     [recallAt]int32
	tops    int
	entropy float64 // NaN: none of the best has an interest
}

// block is how many members are scored at a time, so that items are read from memory once for all of them.
const block = 8

// evaluate ranks the catalogue for every member, in parallel, and sums up in the members' order.
func evaluate(ctx context.Context, p *population, s scorer, threads int) (Result, error) {
	all, fresh := make([]outcome, len(p.members)), make([]outcome, len(p.members))
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range threads {
		g.Go(func() error {
			w := newDesk(p)
			for {
				lo := int(next.Add(block)) - block
				if lo >= len(p.members) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := w.block(s, lo, min(lo+block, len(p.members)), all, fresh); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return Result{}, err
	}
	return Result{Figures: p.figures(all), NewOnly: p.figures(fresh)}, nil
}

// desk is one goroutine's memory.
type desk struct {
	p      *population
	which  []int
	scores [][]float64
	top    []int32
	count  []int32 // by interest
}

func newDesk(p *population) *desk {
	d := &desk{p: p, scores: make([][]float64, block), count: make([]int32, p.interests)}
	for i := range d.scores {
		d.scores[i] = make([]float64, p.items)
	}
	return d
}

func (d *desk) block(s scorer, lo, hi int, all, fresh []outcome) error {
	d.which = d.which[:0]
	for k := lo; k < hi; k++ {
		d.which = append(d.which, k)
	}
	if err := s.scores(d.which, d.scores[:hi-lo]); err != nil {
		return err
	}
	for k := lo; k < hi; k++ {
		m, scores := &d.p.members[k], d.scores[k-lo]
		if i := slices.IndexFunc(scores, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }); i >= 0 {
			return fmt.Errorf("user %s: score of item %d is %g; want a finite number", d.p.data.User(int(m.user)).ID, i, scores[i])
		}
		all[k] = d.outcome(scores, m.targets)
		history := d.p.data.User(int(m.user)).Item[:m.history]
		for _, i := range history {
			scores[i] = removed
		}
		fresh[k] = d.outcome(scores, remaining(scores, m.targets))
	}
	return nil
}

// remaining are the targets that are still in the ranking.
func remaining(scores []float64, targets []int32) []int32 {
	var left []int32
	for _, t := range targets {
		if scores[t] != removed {
			left = append(left, t)
		}
	}
	return left
}

func (d *desk) outcome(scores []float64, targets []int32) outcome {
	d.top = best(d.top, scores, entropyAt)
	first := d.top[:min(recallAt, len(d.top))]
	o := outcome{targets: len(targets), entropy: d.entropy()}
	o.tops = copy(o.top[:], first)
	if len(targets) > 0 {
		h := newHits(recallAt, scores, first)
		o.recall = h.recall(targets)
	}
	return o
}

// entropy is that of the interests of the best items, in nats.
func (d *desk) entropy() float64 {
	clear(d.count)
	total := 0.0
	for _, i := range d.top {
		if d.p.interests > 0 && d.p.interest[i] >= 0 {
			d.count[d.p.interest[i]]++
			total++
		}
	}
	if total == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, c := range d.count {
		if c > 0 {
			sum -= float64(c) / total * math.Log(float64(c)/total)
		}
	}
	return sum
}
