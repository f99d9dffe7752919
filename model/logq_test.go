package model

import (
	"math"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// surrogate is the corrected loss as it was published (arXiv 2507.09331): of a pair sg(1-P) (z - s_p), where s_p is the positive's plain score, z the log-sum-exp of
// s_n - log(N Q'(n)) over the N draws that are not the user's own, Q' is the distribution of these, P the positive's share of exp(s_p) + exp(z), and sg
// says that no gradient goes through. Where frozen is nil the factors are noted and returned; otherwise they are those.
//
// There only the positive itself is taken out of the pool, here all of the user's positives are. Of M draws from Q, N = M (1 - Q(own)) remain on
// average, with Q' = Q/(1 - Q(own)).
func (r *reference) surrogate(b *dataset.Batch, frozen []float64) (loss float64, factors []float64) {
	tau := math.Exp(r.p["log_temperature"][0])
	draws := float64(len(b.Negative))
	for u := range b.User {
		own := b.OwnItem[b.OwnOffset[u]:b.OwnOffset[u+1]]
		rest := 1.0 // 1 - Q(own), as probabilities
		for _, i := range own {
			rest -= math.Exp(float64(r.logQ[i])) / draws
		}
		targets := r.targets(b, u)
		pairs := make([][]float64, len(targets))
		for m, e := range r.user(b, u) {
			sum := 0.0
			for _, n := range b.Negative {
				if !slices.Contains(own, n) {
					q := math.Exp(float64(r.logQ[n])) / draws / rest
					sum += math.Exp(dot(e, r.item(n))/tau) / (draws * rest * q)
				}
			}
			for _, p := range targets[m] {
				s, z := dot(e, r.item(p))/tau, math.Log(sum)
				factors = append(factors, 1-math.Exp(s)/(math.Exp(s)+sum))
				f := factors[len(factors)-1]
				if frozen != nil {
					f = frozen[len(factors)-1]
				}
				pairs[m] = append(pairs[m], f*(z-s))
			}
		}
		if slices.ContainsFunc(pairs, func(x []float64) bool { return len(x) > 0 }) {
			loss += r.average(pairs)
		}
	}
	return loss, factors
}

// The gradient of logq corrected is that of the published form, although the losses differ.
func TestCorrectedIsThePublishedGradient(t *testing.T) {
	w := tinyWhat()
	w.Loss.LogQ = logQCorrected
	s := newSetup(t, w, tinyMeta())
	b := randomBatch(random(4), s.m, 5, 1, 6)
	copy(s.logQ, distribution(len(s.logQ), len(b.Negative)))
	r := s.reference()
	grad, res := s.gradient(t, b)
	loss, frozen := r.surrogate(b, nil)
	if len(frozen) < 10 || math.Abs(loss-res.Loss) < 1e-2 {
		t.Fatalf("%d pairs, losses %v and %v: nothing to compare", len(frozen), loss, res.Loss)
	}
	for i, x := range s.m.Tensors() {
		rng := random(uint64(i))
		direction := make([]float64, x.Len())
		for k := range direction {
			direction[k] = rng.NormFloat64()
		}
		eps := 1e-5 / math.Sqrt(dot(direction, direction))
		at := func(step float64) float64 {
			p := slices.Clone(r.p[x.Name])
			for k := range p {
				r.p[x.Name][k] += step * direction[k]
			}
			loss, _ := r.surrogate(b, frozen)
			copy(r.p[x.Name], p)
			return loss
		}
		want := (at(eps) - at(-eps)) / (2 * eps)
		var got, square float64
		for k, g := range grad[x.Offset : x.Offset+x.Len()] {
			got += float64(g) * direction[k]
			square += float64(g) * float64(g)
		}
		if !(math.Abs(got-want) <= tolerance*math.Sqrt(square)) {
			t.Errorf("%s: slope %v, want %v", x.Name, got, want)
		}
	}
}

// distribution is log Q of a pool of so many draws, Q adding up to their number.
func distribution(items, draws int) []float32 {
	q := make([]float64, items)
	sum := 0.0
	for i := range q {
		q[i] = math.Exp(math.Sin(float64(3 * i)))
		sum += q[i]
	}
	out := make([]float32, items)
	for i := range q {
		out[i] = float32(math.Log(q[i] / sum * float64(draws)))
	}
	return out
}

// Each item of the catalogue counts 1 in the corrected pool, on average over pools: the sum over the pool estimates the one over the
// catalogue, and masking a user's items leaves that of the others as it is. Uncorrected, it counts as often as it is drawn.
func TestPoolEstimatesTheCatalogue(t *testing.T) {
	const draws, pools = 12, 5_000
	m, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	logQ := distribution(m.sizes.items, draws)
	for _, mode := range []string{logQOn, logQCorrected, logQOff} {
		var g goal
		mean := make([]float64, m.sizes.items)
		key := counter.Key(3, counter.InBatch)
		for k := range uint64(pools) {
			b := &dataset.Batch{}
			for i := range uint64(draws) {
				b.Negative = append(b.Negative, categorical(logQ, draws, counter.Unit(key, k*draws+i)))
			}
			if err := g.gather(b, m.sizes.items, logQ, mode); err != nil {
				t.Fatal(err)
			}
			for row, bias := range g.poolBias {
				mean[g.items[row]] += math.Exp(float64(bias)) / pools
			}
		}
		for i, x := range mean {
			q := math.Exp(float64(logQ[i]))
			want, sd := 1.0, 1/math.Sqrt(pools*q) // of a Poisson count with mean q, divided by q
			if mode == logQOff {
				want, sd = q, math.Sqrt(q/pools)
			}
			if math.Abs(x-want) > 5*sd {
				t.Errorf("%s, item %d: counts %.4f on average, want %.4f +- %.4f", mode, i, x, want, sd)
			}
		}
	}
}

// categorical is the item that x in [0, 1) falls on.
func categorical(logQ []float32, draws int, x float64) int32 {
	for i, q := range logQ {
		if x -= math.Exp(float64(q)) / float64(draws); x < 0 {
			return int32(i)
		}
	}
	return int32(len(logQ) - 1)
}
