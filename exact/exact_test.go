package exact_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ringleader-dev/ringleader/exact"
)

// reference is round-half-to-even(x * 2^48) in arbitrary precision.
func reference(x float32) int64 {
	v := new(big.Rat).SetFloat64(float64(x))
	v.Mul(v, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), exact.FractionBits)))
	twice := new(big.Int).Mul(v.Num(), big.NewInt(2))
	// floor((2v+1)/2) is the nearest integer, the upper one at a tie.
	up := new(big.Int).Add(twice, v.Denom())
	q, r := new(big.Int).DivMod(up, new(big.Int).Mul(v.Denom(), big.NewInt(2)), new(big.Int))
	if r.Sign() == 0 && q.Bit(0) == 1 {
		q.Sub(q, big.NewInt(1))
	}
	return q.Int64()
}

func samples(rng *rand.Rand, n int) []float32 {
	x := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0x1p-49, 0x3p-49, -0x1p-49, -0x3p-49, 0x5p-50, 0x1p-50, 0x1p-149, math.Nextafter32(1024, 0)}
	for len(x) < n {
		// All exponents below the limit, most of them around the last place.
		v := float32(math.Ldexp(rng.Float64()*2-1, rng.IntN(60)-50))
		x = append(x, v)
	}
	return x
}

func TestToFixedRoundsToNearestEven(t *testing.T) {
	x := samples(rand.New(rand.NewPCG(1, 1)), 20_000)
	acc := make([]int64, len(x))
	nan, over, _ := exact.ToFixed(acc, x, exact.Limit(24))
	if nan != 0 || over != 0 {
		t.Fatalf("refused %d NaN, %d out of range", nan, over)
	}
	for i, v := range x {
		if want := reference(v); acc[i] != want {
			t.Fatalf("%g became %d, want %d", v, acc[i], want)
		}
	}
	// It adds.
	exact.ToFixed(acc, x, exact.Limit(24))
	for i, v := range x {
		if want := 2 * reference(v); acc[i] != want {
			t.Fatalf("%g twice became %d, want %d", v, acc[i], want)
		}
	}
}

func TestToFixedRefuses(t *testing.T) {
	limit := exact.Limit(24)
	inf := float32(math.Inf(1))
	x := []float32{float32(math.NaN()), limit, -limit, inf, -inf, math.Nextafter32(limit, 0)}
	acc := []int64{7, 7, 7, 7, 7, 0}
	nan, over, _ := exact.ToFixed(acc, x, limit)
	if nan != 1 || over != 4 {
		t.Errorf("refused %d NaN and %d out of range, want 1 and 4", nan, over)
	}
	for i := range 5 {
		if acc[i] != 7 {
			t.Errorf("%g was added", x[i])
		}
	}
	if acc[5] != reference(x[5]) {
		t.Errorf("the largest value became %d, want %d", acc[5], reference(x[5]))
	}
}

// The largest values of all shards, all of one sign, do not overflow; twice the limit would.
func TestLimitLeavesRoomForAllShards(t *testing.T) {
	for _, shards := range []int{1, 2, 3, 16, 17, 24, 1000, exact.MaxShards} {
		limit := exact.Limit(shards)
		largest := []float32{math.Nextafter32(limit, 0)}
		acc := make([]int64, 1)
		sum := new(big.Int)
		for range shards {
			if _, over, _ := exact.ToFixed(acc, largest, limit); over != 0 {
				t.Fatalf("%d shards: %g is refused", shards, largest[0])
			}
			sum.Add(sum, big.NewInt(reference(largest[0])))
		}
		if !sum.IsInt64() || sum.Int64() != acc[0] {
			t.Errorf("%d shards at %g: sum %s became %d", shards, limit, sum, acc[0])
		}
	}
	for _, shards := range []int{-1, 0, exact.MaxShards + 1} {
		if l := exact.Limit(shards); l != 0 {
			t.Errorf("limit of %d shards is %g, want 0", shards, l)
		}
	}
}

func TestFromFixed(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	acc := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 48}
	for range 1000 {
		acc = append(acc, int64(rng.Uint64())>>rng.IntN(60))
	}
	x := make([]float32, len(acc))
	const divisor = 37
	exact.FromFixed(x, acc, divisor)
	for i, a := range acc {
		want := new(big.Float).SetPrec(200).SetInt64(a)
		want.SetMantExp(want, -exact.FractionBits).Quo(want, big.NewFloat(divisor))
		w, _ := want.Float64()
		// Two roundings in float64 and one in float32.
		if diff := math.Abs(float64(x[i]) - w); diff > math.Abs(w)*(0x1p-24+0x1p-51) {
			t.Fatalf("%d became %g, want %g", a, x[i], w)
		}
	}
}

func TestThereAndBack(t *testing.T) {
	x := samples(rand.New(rand.NewPCG(7, 7)), 5000)
	acc, back := make([]int64, len(x)), make([]float32, len(x))
	exact.ToFixed(acc, x, exact.Limit(1))
	exact.FromFixed(back, acc, 1)
	for i, v := range x {
		diff := math.Abs(float64(back[i]) - float64(v))
		if math.Abs(float64(v)) >= 0x1p-24 && diff != 0 || diff > 0x1p-49 {
			t.Fatalf("%g came back as %g", v, back[i])
		}
	}
}

// lanesNorm follows the definition literally, one recursion a tree.
func lanesNorm(x []float32) float64 {
	lane := func(block []float32, l int) (sum float64) {
		for i := l; i < len(block); i += 256 {
			sum += float64(block[i]) * float64(block[i])
		}
		return sum
	}
	var lanes func(block []float32, l, stride int) float64
	lanes = func(block []float32, l, stride int) float64 {
		if stride == 256 {
			return lane(block, l)
		}
		return lanes(block, l, 2*stride) + lanes(block, l+stride, 2*stride)
	}
	var blocks func(level, i int) (float64, bool)
	blocks = func(level, i int) (float64, bool) {
		if level == 0 {
			if lo := i * 4096; lo < len(x) {
				return lanes(x[lo:min(lo+4096, len(x))], 0, 1), true
			}
			return 0, false
		}
		a, ok := blocks(level-1, 2*i)
		if b, both := blocks(level-1, 2*i+1); both {
			return a + b, true
		}
		return a, ok
	}
	sum, _ := blocks(8, 0)
	return sum
}

func TestSquaredNorm(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{0, 1, 255, 256, 257, 4095, 4096, 4097, 3 * 4096, 5*4096 + 1, 7*4096 - 1, 60_000} {
		x := make([]float32, n)
		var want big.Float
		want.SetPrec(300)
		for i := range x {
			x[i] = float32(math.Ldexp(rng.NormFloat64(), rng.IntN(40)-20))
			v := big.NewFloat(float64(x[i])).SetPrec(300)
			want.Add(&want, v.Mul(v, v))
		}
		got := exact.SquaredNorm(x)
		if literal := lanesNorm(x); got != literal {
			t.Errorf("%d elements: %x, by the definition %x", n, got, literal)
		}
		if w, _ := want.Float64(); math.Abs(got-w) > w*64*0x1p-53 {
			t.Errorf("%d elements: %g, want %g", n, got, w)
		}
	}
}
