package evaluation

import (
	"math"

	"github.com/ringleader-dev/ringleader/dataset"
)

// baselineNames, in the order of the report's table.
var baselineNames = []string{"popular", "popular_28d", "popular_7d", "item_knn", "own_repeats", "own_decayed_45d"}

type baseline struct {
	name   string
	scorer scorer
}

const (
	dayMS        = 24 * 60 * 60 * 1000
	halfLifeDays = 45
	knnHistory   = 50
	// A tie-break is far below the smallest difference that means something: 1 in counts, about 1e-3 in cosines.
	tieScale = 1e-4
)

// newBaselines learns from the training users' actions up to the cut, and from nothing else.
func newBaselines(d *dataset.Dataset, p *population) []baseline {
	t := train(d)
	ever, days28, days7 := t.counts(math.Inf(1)), t.counts(28), t.counts(7)
	tie := scaled(days28, tieScale)
	own := ownHistory{p: p, tie: tie}
	decayed := own
	decayed.halfLife = halfLifeDays
	return []baseline{
		{"popular", same(ever)},
		{"popular_28d", same(days28)},
		{"popular_7d", same(plus(days7, tie))},
		{"item_knn", newKNN(p, t, tie)},
		{"own_repeats", own},
		{"own_decayed_45d", decayed},
	}
}

// training are the positives of the training users up to the cut.
type training struct {
	meta  dataset.Meta
	items [][]int32 // by user, oldest first
	times [][]int64
}

func train(d *dataset.Dataset) *training {
	t := &training{meta: d.Meta()}
	for u := range d.Users() {
		if d.Heldout(u) {
			continue
		}
		q := d.User(u)
		var items []int32
		var times []int64
		for i := range until(q.TimeMS, t.meta.CutMS) {
			if t.meta.Positive[q.Action[i]] {
				items, times = append(items, q.Item[i]), append(times, q.TimeMS[i])
			}
		}
		if len(items) > 0 {
			t.items, t.times = append(t.items, items), append(t.times, times)
		}
	}
	return t
}

// counts are the positives of each item in the last days before the cut.
func (t *training) counts(days float64) []float64 {
	n := make([]float64, t.meta.Items)
	for u, times := range t.times {
		for i, ms := range times {
			if float64(t.meta.CutMS-ms) < days*dayMS {
				n[t.items[u][i]]++
			}
		}
	}
	return n
}

// scaled maps counts onto [0, scale).
func scaled(counts []float64, scale float64) []float64 {
	most := 0.0
	for _, c := range counts {
		most = max(most, c)
	}
	s := make([]float64, len(counts))
	for i, c := range counts {
		s[i] = scale * c / (1 + most)
	}
	return s
}

func plus(a, b []float64) []float64 {
	s := make([]float64, len(a))
	for i := range s {
		s[i] = a[i] + b[i]
	}
	return s
}

// same gives everybody the same scores.
type same []float64

func (s same) scores(_ []int, dst [][]float64) error {
	for _, d := range dst {
		copy(d, s)
	}
	return nil
}

// ownHistory scores an item by how often the user's own history has it: a positive counts 1, or half as much every halfLife days.
type ownHistory struct {
	p        *population
	tie      []float64
	halfLife float64 // days; 0 = for ever
}

func (o ownHistory) scores(which []int, dst [][]float64) error {
	for j, k := range which {
		copy(dst[j], o.tie)
		items, times := o.p.positives(&o.p.members[k])
		for i, item := range items {
			weight := 1.0
			if o.halfLife > 0 {
				weight = math.Exp2(-float64(o.p.meta.CutMS-times[i]) / (o.halfLife * dayMS))
			}
			dst[j][item] += weight
		}
	}
	return nil
}
