package evaluation

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestProbabilityByHand(t *testing.T) {
	for _, c := range []struct {
		name   string
		k      int
		scores []float64
		item   int32
		want   float64
	}{
		{"best of all", 2, []float64{9, 8, 7, 6}, 0, 1},
		{"just inside", 2, []float64{9, 8, 7, 6}, 1, 1},
		{"just outside", 2, []float64{9, 8, 7, 6}, 2, 0},
		{"two share the last place", 2, []float64{9, 8, 8, 6}, 1, .5},
		{"two share the first two places", 2, []float64{9, 9, 7, 6}, 1, 1},
		{"all equal", 2, []float64{1, 1, 1, 1, 1}, 4, .4},
		{"three share two places, one above", 3, []float64{9, 5, 5, 5, 1}, 2, 2. / 3},
		{"tie above the last place", 3, []float64{9, 9, 5, 4}, 0, 1},
		{"fewer items than places", 10, []float64{3, 2, 2}, 2, 1},
		{"as many items as places", 3, []float64{3, 2, 2}, 2, 1},
		{"others are removed", 2, []float64{removed, removed, 8, 7, 6}, 3, 1},
		{"removed items are not equal to the last", 2, []float64{removed, 8, removed, 7}, 3, 1},
	} {
		h := newHits(c.k, c.scores, best(nil, c.scores, c.k))
		if got := h.probability(c.item); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

// permutations calls do with every order of 0..n-1.
func permutations(n int, do func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var walk func(int)
	walk = func(k int) {
		if k == n {
			do(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			walk(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	walk(0)
}

// What "ties by expected rank" means: the fraction of all orders of the items in which, sorted by score with ties in that order, the item is
// among the first k.
func TestProbabilityIsTheMeanOverAllTieBreaks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		const n = 6
		k := 1 + r.IntN(n+1)
		scores := make([]float64, n)
		for i := range scores {
			scores[i] = float64(r.IntN(4))
		}
		among, orders := make([]float64, n), 0.0
		permutations(n, func(order []int) {
			sorted := slices.Clone(order)
			slices.SortStableFunc(sorted, func(a, b int) int { return int(scores[b] - scores[a]) })
			for _, i := range sorted[:min(k, n)] {
				among[i]++
			}
			orders++
		})
		h := newHits(k, scores, best(nil, scores, k))
		for i := range scores {
			if got, want := h.probability(int32(i)), among[i]/orders; math.Abs(got-want) > 1e-12 {
				t.Fatalf("k %d, scores %v, item %d: %g, want %g", k, scores, i, got, want)
			}
		}
	}
}

// What HR and NDCG mean with ties: the mean over all orders of the items of what the list that is sorted by score, ties in that order, reaches.
func TestGainIsTheMeanOverAllTieBreaks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	tied := 0
	for range 80 {
		const n = 6
		k := 1 + r.IntN(n+1)
		scores := make([]float64, n)
		for i := range scores {
			scores[i] = float64(r.IntN(4))
		}
		scores[r.IntN(n)] = removed
		var targets []int32
		for i, s := range scores {
			if s != removed && r.IntN(2) == 0 {
				targets = append(targets, int32(i))
			}
		}
		if len(targets) == 0 {
			continue
		}
		best := 0.0
		for place := range min(k, len(targets)) {
			best += 1 / math.Log2(2+float64(place))
		}
		hit, ndcg, orders := 0.0, 0.0, 0.0
		permutations(n, func(order []int) {
			sorted := slices.DeleteFunc(slices.Clone(order), func(i int) bool { return scores[i] == removed })
			slices.SortStableFunc(sorted, func(a, b int) int { return int(scores[b] - scores[a]) })
			any := 0.0
			for place, i := range sorted[:min(k, len(sorted))] {
				if slices.Contains(targets, int32(i)) {
					any = 1
					ndcg += 1 / math.Log2(2+float64(place)) / best
				}
			}
			hit += any
			orders++
		})
		h := newHits(k, scores, bestOf(scores, k))
		if got, want := h.any(targets), hit/orders; math.Abs(got-want) > 1e-12 {
			t.Fatalf("k %d, scores %v, targets %v: hit rate %g, want %g", k, scores, targets, got, want)
		}
		if got, want := h.ndcg(targets), ndcg/orders; math.Abs(got-want) > 1e-12 {
			t.Fatalf("k %d, scores %v, targets %v: NDCG %g, want %g", k, scores, targets, got, want)
		}
		if h := hit / orders; h > 0 && h < 1 {
			tied++
		}
	}
	if tied < 5 {
		t.Errorf("only %d cases in which ties decide", tied)
	}
}

func bestOf(scores []float64, k int) []int32 { return best(nil, scores, k) }

func TestBestAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var top []int32
	for range 500 {
		scores := make([]float64, r.IntN(40))
		var want []int32
		for i := range scores {
			scores[i] = float64(r.IntN(8))
			if r.IntN(5) == 0 {
				scores[i] = removed
				continue
			}
			want = append(want, int32(i))
		}
		slices.SortStableFunc(want, func(a, b int32) int { return int(scores[b] - scores[a]) })
		k := 1 + r.IntN(12)
		want = want[:min(k, len(want))]
		if top = best(top, scores, k); !slices.Equal(top, want) {
			t.Fatalf("k %d of %v: %v, want %v", k, scores, top, want)
		}
	}
}
