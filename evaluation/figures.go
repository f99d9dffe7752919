package evaluation

import (
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// figures sums the members' outcomes up.
func (p *population) figures(outcomes []outcome) Figures {
	var f Figures
	var recalls []float64
	entropy, withEntropy := 0.0, 0
	shown := make([]int, p.items)
	for _, o := range outcomes {
		if o.targets > 0 {
			recalls = append(recalls, o.recall)
			f.Positives += o.targets
		}
		for _, i := range o.top[:o.tops] {
			shown[i]++
		}
		if !math.IsNaN(o.entropy) {
			entropy += o.entropy
			withEntropy++
		}
	}
	f.Users = len(recalls)
	f.RecallAt10 = round(mean(recalls))
	f.Interval = interval(recalls)
	f.Coverage = round(coverage(shown))
	if withEntropy > 0 {
		e := round(entropy / float64(withEntropy))
		f.Entropy = &e
	}
	return f
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
