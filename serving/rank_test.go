package serving

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// A ranking by half-precision vectors is the ranking by the model's, but for items that are as good as equal.
func TestHalvesRankTheSame(t *testing.T) {
	d, out := synthetic(t, synth.Options{Users: 60, Items: 400, Dim: 8, Actions: 20}), mem.New()
	o := untrained(t, d, out)
	r := mustRun(t, o)
	exact, got := newReference(t, o, o.AsOfMS), users(t, out, &r.Manifest)
	items := matrixOf(t, out, r, itemsMatrix, d.Meta().Items)
	const tolerance = 0x1p-10 // of a cosine: 2^-11 for each of the two vectors
	changed := 0
	for u, id := range got.ids {
		score, half := make([]float64, d.Meta().Items), make([]float64, d.Meta().Items)
		for i := range score {
			for k := range r.Dim {
				score[i] += float64(exact.users[id][k]) * float64(exact.items[i*r.Dim+k])
				half[i] += float64(safetensors.FromHalf(got.vector(u)[k])) * float64(safetensors.FromHalf(items[i*r.Dim+k]))
			}
			if diff := score[i] - half[i]; math.Abs(diff) > tolerance {
				t.Fatalf("user %s, item %d: cosine %g, %g from halves", id, i, score[i], half[i])
			}
		}
		ten := best(score)
		for _, i := range best(half) {
			if slices.Contains(ten, i) {
				continue
			}
			changed++
			if score[i] < score[ten[9]]-2*tolerance {
				t.Errorf("user %s: item %d of cosine %g is among the ten best, the tenth has %g", id, i, score[i], score[ten[9]])
			}
		}
	}
	if all := 10 * len(got.ids); changed*100 > all {
		t.Errorf("%d of %d places in the ten best changed", changed, all)
	}
}

// best are the ten best items.
func best(score []float64) []int {
	order := make([]int, len(score))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(score[b], score[a]) })
	return order[:10]
}
