package devicetest

import (
	"math"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

func blocks(e *env) {
	for _, n := range []int{0, 1, 255, 256, 257, 1003} {
		x := e.awkward(n)
		for i := 0; i+2 < n; i += 90 {
			x[i], x[i+1], x[i+2] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
		}
		exponents := make([]int8, exact.Blocks(n))
		for b := range exponents {
			exponents[b] = int8(e.rng.IntN(60) - 45)
		}
		raised := buf(e, exponents)
		e.lane.RaiseExponents(raised, buf(e, x))
		want := append([]int8(nil), exponents...)
		exact.RaiseExponents(want, x)
		same(e, "raised", read(e, raised), want)
		for _, shards := range []int{1, 2, 24, 1 << 12} {
			blocksOf(e, x, exponents, exact.Fraction(16, shards), device.Lane.ToBlocks16, device.Lane.FromBlocks16)
			blocksOf(e, x, exponents, exact.Fraction(32, shards), device.Lane.ToBlocks32, device.Lane.FromBlocks32)
		}
	}
}

func blocksOf[W interface {
	exact.Word
	device.Number
}](e *env, x []float32, exponents []int8, fraction int,
	to func(device.Lane, device.Buf[W], device.F32, device.I8, int, device.I64), from func(device.Lane, device.F32, device.Buf[W], device.I8, int, float64),
) {
	n := len(x)
	x = append([]float32(nil), x...)
	for b, exponent := range exponents { // values about the largest that converts, and halves of the last place
		edge := float32(math.Ldexp(math.Ldexp(1, fraction)-0.5, int(exponent)-fraction))
		unit := math.Ldexp(1, int(exponent)-fraction)
		for i, v := range []float32{edge, -edge, math.Nextafter32(edge, 0), math.Nextafter32(-edge, 0), 2 * edge, float32(unit / 2), float32(-1.5 * unit), float32(2.5 * unit)} {
			if at := b*exact.BlockElements + 100 + i; at < n {
				x[at] = v
			}
		}
		for i := b*exact.BlockElements + 120; i < min(n, (b+1)*exact.BlockElements); i++ {
			x[i] = float32(e.rng.NormFloat64() * math.Ldexp(0.3, int(exponent)-e.rng.IntN(fraction+4)))
		}
	}
	acc := make([]W, n)
	for i := range acc {
		acc[i] = W(e.rng.IntN(200) - 100)
	}
	accb, bad, eb := buf(e, acc), buf(e, []int64{5, 7, 9}), buf(e, exponents)
	to(e.lane, accb, buf(e, x), eb, fraction, bad)
	nans, over, sum := exact.ToBlocks(acc, x, exponents, fraction)
	same(e, "blocks", read(e, accb), acc)
	counts := read(e, bad)
	same(e, "bad", counts[:2], []int64{5 + nans, 7 + over})
	same(e, "sum", []int32{int32(counts[2])}, []int32{int32(9 + sum)})
	for i := range acc {
		acc[i] = W(e.rng.Uint32())
	}
	for _, divisor := range []float64{1, 24, 1531} {
		want, got := make([]float32, n), buf(e, junk(1, n).v)
		exact.FromBlocks(want, acc, exponents, fraction, divisor)
		from(e.lane, got, buf(e, acc), eb, fraction, divisor)
		same(e, "float", read(e, got), want)
	}
}
