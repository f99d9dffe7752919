package exact_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/exact"
)

// shardsOf are gradients of shards, with magnitudes that differ from block to block and from element to element.
func shardsOf(rng *rand.Rand, shards, n int) [][]float32 {
	all := make([][]float32, shards)
	for s := range all {
		all[s] = make([]float32, n)
	}
	for b := range exact.Blocks(n) {
		scale := math.Ldexp(1, rng.IntN(60)-50)
		for i := b * exact.BlockElements; i < min(n, (b+1)*exact.BlockElements); i++ {
			for s := range all {
				all[s][i] = float32(scale * rng.NormFloat64() * math.Ldexp(1, -rng.IntN(8)))
			}
		}
	}
	return all
}

func exponentsOf(all [][]float32) []int8 {
	e := make([]int8, exact.Blocks(len(all[0])))
	for b := range e {
		e[b] = exact.MinExponent
	}
	for _, x := range all {
		exact.RaiseExponents(e, x)
	}
	return e
}

// testBlocks: sums are within the bound of the true ones, and the same for every order, number of members and size of buckets.
func testBlocks[W exact.Word](t *testing.T, wordBits int) {
	rng := rand.New(rand.NewPCG(7, uint64(wordBits)))
	for range 12 {
		shards, n := 1+rng.IntN(40), 1+rng.IntN(2000)
		all, fraction := shardsOf(rng, shards, n), exact.Fraction(wordBits, shards)
		e := exponentsOf(all)
		got := make([]float32, n)
		exact.FromBlocks(got, sumOf[W](t, rng, all, e, fraction, shards, n), e, fraction, 1)
		for i, v := range got {
			want := new(big.Float)
			for _, x := range all {
				want.Add(want, big.NewFloat(float64(x[i])))
			}
			sum, _ := want.Float64()
			bound := float64(shards)*exact.BlockError(e[i/exact.BlockElements], fraction) + math.Abs(sum)*0x1p-24
			if d := math.Abs(float64(v) - sum); d > bound {
				t.Fatalf("%d shards, element %d: sum %v, true sum %v: they differ by %v, want at most %v", shards, i, v, sum, d, bound)
			}
		}
		for range 4 {
			members, bucket := 1+rng.IntN(shards), exact.BlockElements*(1+rng.IntN(4))
			again := make([]float32, n)
			exact.FromBlocks(again, sumOf[W](t, rng, all, e, fraction, members, bucket), e, fraction, 1)
			if !slices.Equal(got, again) {
				t.Fatalf("%d shards: another sum from %d members and buckets of %d elements", shards, members, bucket)
			}
		}
	}
}

// sumOf deals the shards to members at random, who convert bucket by bucket, and adds up what the members have in random order.
func sumOf[W exact.Word](t *testing.T, rng *rand.Rand, all [][]float32, e []int8, fraction, members, bucket int) []W {
	t.Helper()
	n := len(all[0])
	sums := make([][]W, members)
	for m := range sums {
		sums[m] = make([]W, n)
	}
	for _, s := range rng.Perm(len(all)) {
		m := sums[rng.IntN(members)]
		for lo := 0; lo < n; lo += bucket {
			hi := min(n, lo+bucket)
			if nan, over, _ := exact.ToBlocks(m[lo:hi], all[s][lo:hi], e[lo/exact.BlockElements:], fraction); nan+over > 0 {
				t.Fatalf("shard %d, elements %d..%d: %d NaN and %d beyond exponents that were taken from them", s, lo, hi, nan, over)
			}
		}
	}
	total := make([]W, n)
	for _, m := range rng.Perm(members) {
		for i, v := range sums[m] {
			total[i] += v
		}
	}
	return total
}

func TestBlocks16(t *testing.T) { testBlocks[int16](t, 16) }
func TestBlocks32(t *testing.T) { testBlocks[int32](t, 32) }

// TestBlocksFit: the largest values that convert do not overflow, whatever the number of shards; the next larger ones do not convert.
func TestBlocksFit(t *testing.T) {
	for shards := 1; shards <= 1<<13; shards += 1 + shards {
		fraction := exact.Fraction(16, shards)
		if fraction < 1 {
			t.Fatalf("%d shards: %d bits", shards, fraction)
		}
		edge := float32(math.Ldexp(1, fraction)) - 0.5
		x := []float32{math.Nextafter32(edge, 0), -math.Nextafter32(edge, 0), edge, -edge, float32(math.Inf(1)), float32(math.NaN())}
		acc := make([]int16, len(x))
		wide := make([]int64, len(x))
		for s := range shards {
			nan, over, _ := exact.ToBlocks(acc, x, []int8{int8(fraction)}, fraction)
			if nan != 1 || over != 3 {
				t.Fatalf("%d NaN and %d beyond, want 1 and 3", nan, over)
			}
			for i := range wide {
				if s == 0 {
					wide[i] = int64(acc[i]) * int64(shards)
				}
			}
		}
		for i := range wide {
			if int64(acc[i]) != wide[i] {
				t.Fatalf("%d shards: sum of element %d is %d, want %d", shards, i, acc[i], wide[i])
			}
		}
		if acc[0] <= 0 || acc[1] != -acc[0] || acc[2] != 0 {
			t.Errorf("%d shards: sums %v", shards, acc)
		}
	}
	for _, shards := range []int{0, -1, 1 << 15, 1 << 20} {
		if f := exact.Fraction(16, shards); f != 0 {
			t.Errorf("%d shards have %d bits of 16, want 0", shards, f)
		}
	}
}

func TestRaiseExponents(t *testing.T) {
	for _, c := range []struct {
		largest float32
		want    int8
	}{
		{0, exact.MinExponent}, {0x1p-140, exact.MinExponent}, {0x1p-97, exact.MinExponent}, {0x1p-96, -95}, {0.5, 0}, {0.99999994, 0}, {1, 1}, {-3, 2},
		{0x1p95, 96}, {0x1p96, exact.MaxExponent}, {float32(math.Inf(-1)), exact.MaxExponent}, {float32(math.NaN()), exact.MaxExponent},
	} {
		x := make([]float32, 2*exact.BlockElements+1)
		x[exact.BlockElements+7], x[exact.BlockElements+8] = c.largest, c.largest/2
		e := []int8{exact.MinExponent, exact.MinExponent, 5}
		exact.RaiseExponents(e, x)
		if !slices.Equal(e, []int8{exact.MinExponent, c.want, 5}) {
			t.Errorf("exponents %d of a block up to %v, want %d", e, c.largest, c.want)
		}
	}
}
