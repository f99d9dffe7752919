package safetensors

import (
	"math"
	"testing"
)

func TestFromHalfAgainstItsDefinition(t *testing.T) {
	for h := range 1 << 16 {
		exponent, fraction := h>>10&31, float64(h&1023)
		var want float64
		switch {
		case exponent == 31 && fraction == 0:
			want = math.Inf(1)
		case exponent == 31:
			want = math.NaN()
		case exponent == 0:
			want = math.Ldexp(fraction, -24)
		default:
			want = math.Ldexp(1024+fraction, exponent-25)
		}
		want = math.Copysign(want, float64(1-h>>15<<1))
		got := float64(FromHalf(uint16(h)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) || math.Signbit(got) != math.Signbit(want) {
			t.Fatalf("%04x: %g, want %g", h, got, want)
		}
	}
}

// Every half is itself, halfway between two is the even one, and next to halfway is the nearer one.
func TestToHalf(t *testing.T) {
	value := func(h uint16) float64 {
		if h == 0x7C00 {
			return 1 << 16 // what would come next
		}
		return float64(FromHalf(h))
	}
	for h := range uint16(0x7C00) {
		x, next := value(h), value(h+1)
		even := h + h&1
		middle := float32((x + next) / 2) // exact: one bit more
		for _, c := range []struct {
			x    float32
			want uint16
		}{
			{float32(x), h}, {middle, even},
			{math.Nextafter32(middle, 0), h}, {math.Nextafter32(middle, math.MaxFloat32), h + 1},
		} {
			for _, sign := range []uint16{0, 0x8000} {
				signed := math.Float32frombits(math.Float32bits(c.x) | uint32(sign)<<16)
				if got := ToHalf(signed); got != c.want|sign {
					t.Fatalf("ToHalf(%g) = %04x, want %04x", signed, got, c.want|sign)
				}
			}
		}
	}
	inf := float32(math.Inf(1))
	for x, want := range map[float32]uint16{65519.996: 0x7BFF, 65520: 0x7C00, 1e30: 0x7C00, inf: 0x7C00, -inf: 0xFC00, 1e-30: 0} {
		if got := ToHalf(x); got != want {
			t.Errorf("ToHalf(%g) = %04x, want %04x", x, got, want)
		}
	}
	if nan := FromHalf(ToHalf(float32(math.NaN()))); nan == nan {
		t.Errorf("NaN becomes %g", nan)
	}
}
