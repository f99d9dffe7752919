package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
)

// Of the exact objective, bands are the brute-force windows, and a user's weights add up to 1.
func TestBands(t *testing.T) {
	m, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	var g goal
	for seed := range uint64(300) {
		rng := random(seed)
		b := randomBatch(rng, m, rng.IntN(6), 1+rng.IntN(5), rng.IntN(3))
		for _, weights := range []string{weightsSeed, weightsPairs} {
			m.what.Loss.Weights = weights
			users := g.aim(b, m)
			for u := range b.User {
				sum, pairs, equal := 0.0, 0, true
				for k := b.Offset[u]; k < b.Offset[u+1]; k++ {
					var want []int32
					for j := b.PosOffset[u]; j < b.PosOffset[u+1]; j++ {
						if b.PosTimeMS[j] > b.TimeMS[k] && b.PosTimeMS[j] <= b.TimeMS[k]+m.horizon {
							want = append(want, j)
						}
					}
					n := int(g.hi[k] - g.lo[k])
					if n != len(want) || n > 0 && (g.lo[k] != want[0] || g.hi[k] != want[n-1]+1) {
						t.Fatalf("seed %d, token %d: band %d..%d, want %v", seed, k, g.lo[k], g.hi[k], want)
					}
					if k > b.Offset[u] && (g.lo[k] < g.lo[k-1] || g.hi[k] < g.hi[k-1]) {
						t.Fatalf("seed %d, token %d: the band moved back", seed, k)
					}
					sum += float64(g.weight[k]) * float64(n)
					equal = equal && (n == 0 || pairs == 0 || g.weight[k] == g.weight[k-1] || g.lo[k-1] == g.hi[k-1])
					pairs += n
				}
				if pairs == 0 {
					continue
				}
				users--
				if math.Abs(sum-1) > 1e-6 {
					t.Fatalf("seed %d, user %d: weights add up to %v", seed, u, sum)
				}
				if weights == weightsPairs && !equal {
					t.Fatalf("seed %d, user %d: pairs of unlike weights", seed, u)
				}
			}
			if users != 0 {
				t.Fatalf("seed %d: %d users too many have a target", seed, users)
			}
		}
	}
}

// The pool holds each drawn item once, with its multiplicity in the bias; masks are membership.
func TestPool(t *testing.T) {
	s, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	rng := random(1)
	logQ := make([]float32, s.sizes.items)
	for i := range logQ {
		logQ[i] = float32(rng.NormFloat64())
	}
	var g goal
	for _, mode := range []string{logQOn, logQOff, logQCorrected} {
		for range 50 {
			b := randomBatch(rng, s, 3, 0, 5)
			g.aim(b, s)
			if err := g.gather(b, s.sizes.items, logQ, mode); err != nil {
				t.Fatal(err)
			}
			checkPool(t, &g, b, logQ, mode)
		}
	}
}

func checkPool(t *testing.T, g *goal, b *dataset.Batch, logQ []float32, mode string) {
	t.Helper()
	if distinct := slices.Compact(slices.Sorted(slices.Values(g.items))); len(distinct) != len(g.items) {
		t.Fatalf("items %v repeat", g.items)
	}
	count := map[int32]int{}
	for _, n := range b.Negative {
		count[n]++
	}
	if len(count) != g.pool {
		t.Fatalf("pool of %d, want %d", g.pool, len(count))
	}
	for row, item := range g.items[:g.pool] {
		want := math.Log(float64(count[item]))
		if mode != logQOff {
			want -= float64(logQ[item])
		}
		if math.Abs(float64(g.poolBias[row])-want) > 1e-6 {
			t.Fatalf("bias of item %d: %v, want %v", item, g.poolBias[row], want)
		}
		for u := range b.User {
			word := g.mask[u*((g.pool+31)/32)+row/32]
			if got, want := word>>(row%32)&1 == 1, slices.Contains(b.OwnItem[b.OwnOffset[u]:b.OwnOffset[u+1]], item); got != want {
				t.Fatalf("user %d, item %d: masked %v, want %v", u, item, got, want)
			}
		}
	}
	for j, row := range g.positive {
		var want float32
		if mode == logQOn {
			want = -logQ[b.PosItem[j]]
		}
		if g.items[row] != b.PosItem[j] || g.posBias[j] != want {
			t.Fatalf("positive %d: item %d with bias %v, want %d with %v", j, g.items[row], g.posBias[j], b.PosItem[j], want)
		}
	}
}

// The loss is the sum over pairs of one naive softmax each, whatever the shard looks like.
func TestLossIsTheDefinition(t *testing.T) {
	for _, l := range lossCases() {
		w := tinyWhat()
		w.Loss = l
		s := newSetup(t, w, tinyMeta())
		r := s.reference()
		for seed := range uint64(12) {
			rng := random(seed)
			b := randomBatch(rng, s.m, lengths(rng)...)
			_, res := s.gradient(t, b)
			if loss, users := r.loss(b); res.Users != users || math.Abs(res.Loss-loss) > 2e-6*(1+loss) {
				t.Fatalf("%+v, seed %d: loss %v of %d users, want %v of %d", l, seed, res.Loss, res.Users, loss, users)
			}
		}
	}
}

// lengths are those of 1 to 5 users, empty and single tokens among them.
func lengths(rng *rand.Rand) []int {
	n := make([]int, 1+rng.IntN(5))
	for i := range n {
		n[i] = rng.IntN(7)
	}
	return n
}

// Who has no target changes nothing: not the gradient, not the users, and alone not even the loss.
func TestNoTarget(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	b := randomBatch(random(4), s.m, 4, 3)
	b.PosItem, b.PosTimeMS = b.PosItem[:b.PosOffset[1]], b.PosTimeMS[:b.PosOffset[1]]
	b.PosOffset[2] = b.PosOffset[1]
	grad, res := s.gradient(t, b)
	if res.Users != 1 {
		t.Errorf("%d users, want 1", res.Users)
	}
	one := alone(b, 0)
	want, oneRes := s.gradient(t, one)
	if math.Abs(res.Loss-oneRes.Loss) > 1e-6*oneRes.Loss {
		t.Errorf("loss %v, want %v", res.Loss, oneRes.Loss)
	}
	mustBeNear(t, s.m, grad, want, 1e-6)

	none := alone(b, 1)
	zero, res := s.gradient(t, none)
	if res != (Result{Tokens: 3}) {
		t.Errorf("result %+v without a target, want 3 tokens alone", res)
	}
	mustEqual(t, "gradient without a target", zero, make([]float32, s.m.Size()))
	if res, err := s.run.Gradient(t.Context(), s.dev32["params"], s.dev32["grad"], &dataset.Batch{}, nil); err != nil || res != (Result{}) {
		t.Errorf("empty batch: %+v, %v", res, err)
	}
}

// alone is the batch with one of its users, and the same pool.
func alone(b *dataset.Batch, u int) *dataset.Batch {
	from, to := b.Offset[u], b.Offset[u+1]
	p0, p1 := b.PosOffset[u], b.PosOffset[u+1]
	o0, o1 := b.OwnOffset[u], b.OwnOffset[u+1]
	return &dataset.Batch{
		Step: b.Step, Shard: b.Shard, User: b.User[u : u+1], Offset: []int32{0, to - from}, Negative: b.Negative,
		Item: b.Item[from:to], TimeMS: b.TimeMS[from:to], Action: b.Action[from:to], Surface: b.Surface[from:to], Duration: b.Duration[from:to],
		PosOffset: []int32{0, p1 - p0}, PosItem: b.PosItem[p0:p1], PosTimeMS: b.PosTimeMS[p0:p1],
		OwnOffset: []int32{0, o1 - o0}, OwnItem: b.OwnItem[o0:o1],
	}
}

// mustBeNear compares gradients tensor by tensor, relative to the largest element.
func mustBeNear(t *testing.T, m *Model, got, want []float32, limit float64) {
	t.Helper()
	for _, off := range farFrom(m, got, want, limit) {
		t.Error(off)
	}
}

// farFrom says of which tensors two gradients differ, relative to the largest element.
func farFrom(m *Model, got, want []float32, limit float64) []string {
	var list []string
	for _, x := range m.Tensors() {
		var worst, most float64
		for i := x.Offset; i < x.Offset+x.Len(); i++ {
			worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
			most = max(most, math.Abs(float64(want[i])))
		}
		if !(worst <= limit*most) {
			list = append(list, fmt.Sprintf("%s: off by %.3g, largest %.3g", x.Name, worst, most))
		}
	}
	return list
}
