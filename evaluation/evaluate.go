package evaluation

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// scorer gives every item a score for some rows, which are members of the population or moments of them: dst[j][i] = score of item i for row which[j]. All
// of dst is overwritten. Scorers are called from several goroutines at once, and must give a row the same scores whatever it is asked with.
type scorer interface {
	scores(which []int, dst [][]float64) error
}

// outcome is what one ranking gives one member.
type outcome struct {
	recall    float64
	hit, ndcg float64 // of distinct targets
	targets   int     // 0: the member has none, and no recall
	top       [recallAt]int32
	tops      int
	entropy   float64 // NaN: none of the best has an interest
}

// block is how many rows are scored at a time, so that items are read from memory once for all of them.
const block = 8

// evaluate ranks the catalogue for every member.
func evaluate(ctx context.Context, p *population, s scorer, threads int) (*ranking, error) {
	r := &ranking{all: make([]outcome, len(p.members)), fresh: make([]outcome, len(p.members))}
	err := each(ctx, p, s, len(p.members), threads, func(d *desk, k int, scores []float64) error {
		m := &p.members[k]
		if err := p.finite(m, scores); err != nil {
			return err
		}
		r.all[k] = d.outcome(scores, m.targets)
		p.removeHistory(m, scores)
		r.fresh[k] = d.outcome(scores, remaining(scores, m.targets))
		return nil
	})
	return r, err
}

// each has n rows scored, block by block and in parallel, and hands every row to do; what do writes must belong to the row.
func each(ctx context.Context, p *population, s scorer, n, threads int, do func(d *desk, k int, scores []float64) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range threads {
		g.Go(func() error {
			d := newDesk(p)
			for {
				lo := int(next.Add(block)) - block
				if lo >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := d.block(s, lo, min(lo+block, n), do); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
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

func (d *desk) block(s scorer, lo, hi int, do func(d *desk, k int, scores []float64) error) error {
	d.which = d.which[:0]
	for k := lo; k < hi; k++ {
		d.which = append(d.which, k)
	}
	if err := s.scores(d.which, d.scores[:hi-lo]); err != nil {
		return err
	}
	for k := lo; k < hi; k++ {
		if err := do(d, k, d.scores[k-lo]); err != nil {
			return err
		}
	}
	return nil
}

// finite refuses scores that cannot be ranked.
func (p *population) finite(m *member, scores []float64) error {
	if i := slices.IndexFunc(scores, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }); i >= 0 {
		return fmt.Errorf("user %s: score of item %d is %g; want a finite number", p.data.User(int(m.user)).ID, i, scores[i])
	}
	return nil
}

// removeHistory takes what the member had up to the cut out of the ranking.
func (p *population) removeHistory(m *member, scores []float64) {
	for _, i := range p.data.User(int(m.user)).Item[:m.history] {
		scores[i] = removed
	}
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
		distinct := slices.Compact(slices.Sorted(slices.Values(targets)))
		o.recall, o.hit, o.ndcg = h.recall(targets), h.any(distinct), h.ndcg(distinct)
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
