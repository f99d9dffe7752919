package evaluation

import (
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// ranking is what one scorer gives every member.
type ranking struct {
	all, fresh []outcome
}

// result sums a ranking up.
func (p *population) result(r *ranking) Result {
	fresh := NewFigures{Figures: p.figures(r.fresh)}
	for _, o := range r.fresh {
		if o.targets > 0 {
			fresh.HitRateAt10 += o.hit / float64(fresh.Users)
			fresh.NDCGAt10 += o.ndcg / float64(fresh.Users)
		}
	}
	fresh.HitRateAt10, fresh.NDCGAt10 = round(fresh.HitRateAt10), round(fresh.NDCGAt10)
	return Result{Figures: p.figures(r.all), NewOnly: fresh}
}

// figures sums the members' outcomes up.
func (p *population) figures(outcomes []outcome) Figures {
	f := Figures{Recall: recallOf(outcomes)}
	entropy, withEntropy := 0.0, 0
	shown := make([]int, p.items)
	for _, o := range outcomes {
		for _, i := range o.top[:o.tops] {
			shown[i]++
		}
		if !math.IsNaN(o.entropy) {
			entropy += o.entropy
			withEntropy++
		}
	}
	f.Coverage = round(coverage(shown))
	if withEntropy > 0 {
		e := round(entropy / float64(withEntropy))
		f.Entropy = &e
	}
	return f
}

// recallOf is the mean over the members that have targets.
func recallOf(outcomes []outcome) Recall {
	var r Recall
	for _, o := range outcomes {
		r.Positives += o.targets
	}
	all := recalls(outcomes)
	r.Users = len(all)
	r.RecallAt10 = round(mean(all))
	r.Interval = interval(all)
	return r
}

// recalls are those of the members that have targets.
func recalls(outcomes []outcome) []float64 {
	var all []float64
	for _, o := range outcomes {
		if o.targets > 0 {
			all = append(all, o.recall)
		}
	}
	return all
}

// minus compares two rankings of the same members, user by user.
func (r *ranking) minus(other *ranking) Lead {
	return Lead{Difference: difference(r.all, other.all), NewOnly: difference(r.fresh, other.fresh)}
}

// difference resamples the users' differences, which is to resample both recalls with the same users.
func difference(a, b []outcome) Difference {
	var d []float64
	for i := range a {
		if a[i].targets > 0 {
			d = append(d, a[i].recall-b[i].recall)
		}
	}
	return Difference{RecallAt10: round(mean(d)), Interval: interval(d)}
}

// coverage is the smallest fraction of the items that makes up 90 % of what is shown.
func coverage(shown []int) float64 {
	slices.Sort(shown)
	total := 0
	for _, c := range shown {
		total += c
	}
	if total == 0 {
		return 0
	}
	items, sum := 0, 0
	for _, c := range slices.Backward(shown) {
		items++
		if sum += c; 10*sum >= 9*total {
			break
		}
	}
	return float64(items) / float64(len(shown))
}

// interval is the 95 % bootstrap interval of the mean: of resamples of the users, drawn with replacement, the 2.5th and 97.5th percentile.
func interval(x []float64) [2]float64 {
	if len(x) == 0 {
		return [2]float64{}
	}
	means := make([]float64, resamples)
	for r := range means {
		key := counter.Key(0, counter.Bootstrap, uint64(r))
		sum := 0.0
		for i := range x {
			sum += x[counter.Below(key, uint64(i), len(x))]
		}
		means[r] = sum / float64(len(x))
	}
	slices.Sort(means)
	outside := resamples * (100 - intervalPercent) / 200
	return [2]float64{round(means[outside]), round(means[resamples-1-outside])}
}

func mean(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// round keeps six digits: more than any of this means, and few enough to be the same on every machine.
func round(x float64) float64 { return math.Round(x*1e6) / 1e6 }
