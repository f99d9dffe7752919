package reproduction

import (
	"fmt"
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// Run is one evaluated training.
type Run struct {
	Seed     uint64
	All, New Sample
}

// Sample is what a run reached on one set of targets.
type Sample struct {
	Recalls  []float64 // users, in the same order for every run
	Coverage float64
}

// Figure is an arm's Recall@10.
type Figure struct {
	Mean     float64    `json:"recall_at_10"` // of the seeds
	Interval [2]float64 `json:"interval"`     // 95 %, of users and seeds
	Seeds    []float64  `json:"seeds"`
	Coverage float64    `json:"coverage"` // mean of the seeds
}

const (
	resamples = 1000
	outside   = resamples * 5 / 200 // resamples on either side of a 95 % interval
)

// figure sums the seeds' samples up.
func figure(samples []Sample) Figure {
	x := make([][]float64, len(samples))
	var f Figure
	for s := range samples {
		x[s] = samples[s].Recalls
		f.Coverage += samples[s].Coverage / float64(len(samples))
	}
	f.Mean, f.Interval, f.Seeds = summarise(x)
	f.Coverage = round(f.Coverage)
	return f
}

// summarise gives the mean of x[seed][user], its interval, and the mean of each seed.
func summarise(x [][]float64) (all float64, interval [2]float64, seeds []float64) {
	for _, users := range x {
		seeds = append(seeds, mean(users))
	}
	all = mean(seeds)
	spread := 0.0
	if n := float64(len(x)); n > 1 {
		spread = math.Sqrt(n/(n-1)) - 1
	}
	shift := make([]float64, len(x))
	for s := range x {
		shift[s] = spread * (seeds[s] - all)
	}
	interval = bootstrap(x, shift)
	for s := range seeds {
		seeds[s] = round(seeds[s])
	}
	return round(all), interval, seeds
}

// bootstrap resamples users and seeds. shift is added to every user of a seed.
func bootstrap(x [][]float64, shift []float64) [2]float64 {
	if len(x) == 0 || len(x[0]) == 0 {
		return [2]float64{}
	}
	means := make([]float64, resamples)
	seeds := make([][]float64, len(x))
	for r := range means {
		key := counter.Key(1, counter.Bootstrap, uint64(r))
		sum := 0.0
		for k := range seeds {
			s := counter.Below(key, uint64(k), len(x))
			seeds[k] = x[s]
			sum += shift[s] * float64(len(x[0]))
		}
		for i := range x[0] {
			u := counter.Below(key, uint64(len(x)+i), len(x[0]))
			for _, users := range seeds {
				sum += users[u]
			}
		}
		means[r] = sum / float64(len(x)*len(x[0]))
	}
	slices.Sort(means)
	return [2]float64{round(means[outside]), round(means[resamples-1-outside])}
}

// contrast is the sum of some arms' recalls minus that of others, by seed and user.
func contrast(more, less [][]Sample) [][]float64 {
	var x [][]float64
	for s := range more[0] {
		d := make([]float64, len(more[0][s].Recalls))
		add := func(arms [][]Sample, sign float64) {
			for _, arm := range arms {
				for u, r := range arm[s].Recalls {
					d[u] += sign * r
				}
			}
		}
		add(more, 1)
		add(less, -1)
		x = append(x, d)
	}
	return x
}

// pairable refuses runs that cannot be paired.
func pairable(arms map[string][]Run) error {
	var first []Run
	for name, runs := range arms {
		if first == nil {
			first = runs
		}
		if len(runs) == 0 || len(runs) != len(first) {
			return fmt.Errorf("arm %s: %d runs; want the same seeds for every arm, at least one", name, len(runs))
		}
		for i, r := range runs {
			if r.Seed != first[i].Seed || len(r.All.Recalls) != len(first[0].All.Recalls) || len(r.New.Recalls) != len(first[0].New.Recalls) {
				return fmt.Errorf("arm %s: seed %d with %d and %d users; want seed %d with %d and %d, as others have", name, r.Seed, len(r.All.Recalls), len(r.New.Recalls),
					first[i].Seed, len(first[0].All.Recalls), len(first[0].New.Recalls))
			}
		}
	}
	return nil
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

// round keeps six digits: more than any of this means.
func round(x float64) float64 { return math.Round(x*1e6) / 1e6 }
