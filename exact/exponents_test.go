package exact_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/exact"
)

func TestNextExponents(t *testing.T) {
	now := []int8{5, 5, 5, -95, -95, 5}
	seen := []int8{9, 2, exact.MinExponent, exact.MinExponent, exact.MinExponent + 1, exact.MaxExponent - 1}
	next := make([]int8, len(now))
	exact.NextExponents(next, now, seen, 4)
	if want := []int8{13, 6, 5, -95, exact.MinExponent + 5, exact.MaxExponent}; !slices.Equal(next, want) {
		t.Errorf("next exponents %d, want %d", next, want)
	}
}

// TestSecondPassConverts: whatever a step's elements are, they convert by the exponents that were taken from them, also the largest that have an exponent, and those that
// are too small to have one.
func TestSecondPassConverts(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 2000 {
		x := []float32{math.Nextafter32(float32(math.Ldexp(1, rng.IntN(140+exact.MaxExponent)-140)), 0), float32(rng.NormFloat64())}
		x = x[:1+rng.IntN(2)]
		now, next, seen := exact.FirstExponents(1), make([]int8, 1), []int8{exact.MinExponent}
		exact.RaiseExponents(seen, x)
		exact.NextExponents(next, now, seen, 1)
		for _, fraction := range []int{exact.Fraction(16, 256), exact.Fraction(32, 24)} {
			if nan, over, _ := exact.ToBlocks(make([]int32, len(x)), x, next, fraction); nan+over > 0 {
				t.Fatalf("%g: %d NaN and %d beyond exponent %d, which was taken from %d", x, nan, over, next, seen)
			}
		}
	}
}

func TestBFloat16(t *testing.T) {
	for x, want := range map[float32]uint16{
		0: 0, 1: 0x3F80, -2: 0xC000, 1 + 0x1p-8: 0x3F80, 1 + 0x3p-8: 0x3F82, 1 + 0x1p-8 + 0x1p-20: 0x3F81, math.MaxFloat32: 0x7F80, float32(math.Inf(-1)): 0xFF80, 0x1p-133: 1,
	} {
		if got := exact.ToBFloat16(x); got != want {
			t.Errorf("%g became %04x, want %04x", x, got, want)
		}
	}
	for h := range 1 << 16 {
		x := exact.FromBFloat16(uint16(h))
		if got := exact.ToBFloat16(x); got != uint16(h) && x == x {
			t.Fatalf("%04x is %g and became %04x", h, x, got)
		}
	}
	// NaN whose only bits are those that go.
	if x := exact.FromBFloat16(exact.ToBFloat16(math.Float32frombits(0x7F800001))); x == x {
		t.Errorf("NaN became %g", x)
	}
}
