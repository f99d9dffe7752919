package devicetest

import (
	"math"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// awkward are floats at the edges of everything.
func (e *env) awkward(n int) []float32 {
	x := make([]float32, n)
	special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 0x1p-126,
		0x1p-49, -0x1p-49, 3 * 0x1p-49, -3 * 0x1p-49, 5 * 0x1p-50, 0x1p-48, 0x1.000002p-26, 255.99998, -255.99998, 0x1p15, 0x1.fffffep10}
	for i := range x {
		switch e.rng.IntN(4) {
		case 0:
			x[i] = special[e.rng.IntN(len(special))]
		case 1: // halves of the last place: rounding decides
			x[i] = float32(float64(e.rng.Int32N(2001)-1000) * 0x1p-49)
		default:
			x[i] = float32(math.Ldexp(e.rng.NormFloat64(), e.rng.IntN(80)-65))
		}
	}
	return x
}

func fixed(e *env) {
	for _, n := range []int{0, 1, 7, 64, 1003} {
		for _, shards := range []int{1, 3, 24, exact.MaxShards} {
			e.fixed(n, exact.Limit(shards))
		}
	}
}

func (e *env) fixed(n int, limit float32) {
	x := e.awkward(n)
	for i := 0; i+5 < n; i += 50 {
		x[i], x[i+1], x[i+2] = float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))
		x[i+3], x[i+4], x[i+5] = limit, -limit, math.Nextafter32(limit, 0)
	}
	acc := make([]int64, n)
	for i := range acc {
		acc[i] = e.rng.Int64()>>2 - 1<<60
	}
	accb, bad := buf(e, acc), buf(e, []int64{5, 7, 9})
	e.lane.ToFixed(accb, buf(e, x), limit, bad)
	nans, over, sum := exact.ToFixed(acc, x, limit)
	same(e, "fixed", read(e, accb), acc)
	same(e, "bad", read(e, bad), []int64{5 + nans, 7 + over, 9 + sum})

	for i := range acc { // all magnitudes, so that the conversion to float64 must round
		acc[i] = int64(e.rng.Uint64()) >> e.rng.IntN(64)
	}
	for i, v := range []int64{math.MinInt64, math.MaxInt64, 0, -1, 1<<53 + 1, 1<<62 - 1} {
		if i < n {
			acc[i] = v
		}
	}
	for _, divisor := range []float64{1, 24, 1531} {
		want, got := make([]float32, n), buf(e, junk(1, n).v)
		exact.FromFixed(want, acc, divisor)
		e.lane.FromFixed(got, buf(e, acc), divisor)
		same(e, "float", read(e, got), want)
	}
}

func squaredNorm(e *env) {
	for _, n := range []int{0, 1, 255, 256, 257, 4096, 4097, 3*4096 + 300, 7 * 4096} {
		x := e.awkward(n)
		got := e.lane.SquaredNorm(buf(e, x))
		e.words = append(e.words, math.Float64bits(got))
		same(e, "norm", []float64{got}, []float64{exact.SquaredNorm(x)})
	}
}

func hash(e *env) {
	for _, n := range []int{0, 1, 13, 16, 1000, 1<<18 + 5} { // a backend may have no thread for each of so many
		x, first := e.awkward(n), e.rng.Uint64()
		got := e.lane.Hash(buf(e, x), first)
		e.words = append(e.words, got)
		same(e, "hash", []uint64{got}, []uint64{exact.HashFloats(x, first)})
	}
}

func adamW(e *env) {
	a := device.AdamW{LR: 1.5e-3, Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, Decay: 0.01, Correction1: 0.271, Correction2: 0.0588, Scale: 0.731}
	const size = 1 << 30 // a state of more words than these
	for _, n := range []int{0, 1, 9, 15, 16, 255, 512, 1001, 1<<18 + 5} {
		p, m, v, g := e.floats(n, 1), e.floats(n, 0.1), e.floats(n, 0.1), e.awkward(n)
		for i := range v {
			v[i] *= v[i]
		}
		pb, mb, vb, gb := buf(e, p), buf(e, m), buf(e, v), buf(e, g)
		first, sums := e.rng.Uint64(), []uint64{1, math.MaxUint64}
		hb := device.Hashes{First: first, Size: size, Sums: buf(e, sums)}
		e.lane.AdamW(pb, mb, vb, gb, a, hb)
		want := append([]float32(nil), g...)
		for i := range g {
			p[i], m[i], v[i] = adamWOf(p[i], m[i], v[i], g[i], a)
		}
		sums[0] += exact.HashFloats(p, first)
		sums[1] += exact.HashFloats(m, first+size) + exact.HashFloats(v, first+2*size)
		same(e, "p", read(e, pb), p)
		same(e, "m", read(e, mb), m)
		same(e, "v", read(e, vb), v)
		same(e, "g", read(e, gb), want)
		same(e, "hashes", read(e, hb.Sums), sums)
	}
}

// adamWOf rounds after every operation.
func adamWOf(p, m, v, g float32, a device.AdamW) (float32, float32, float32) {
	g = float32(g * a.Scale)
	m = float32(a.Beta1*m) + float32(float32(1-a.Beta1)*g)
	v = float32(a.Beta2*v) + float32(float32(1-a.Beta2)*float32(g*g))
	root := float32(math.Sqrt(float64(float32(v / a.Correction2)))) // the root of a float32, rounded twice, is rounded correctly
	ratio := float32(float32(m/a.Correction1) / float32(root+a.Eps))
	return p - float32(a.LR*float32(ratio+float32(a.Decay*p))), m, v
}

// nan: what is not a number must reach the result, where the conversion to fixed point counts it.
func nan(e *env) {
	bad := float32(math.NaN())
	spoiled := func(rows, cols int) grid {
		g := e.normal(rows, cols)
		g.v[len(g.v)/2] = bad
		return g
	}
	const rows, cols = 5, 12
	x, y, v := e.mat(spoiled(rows, cols), 0), e.mat(e.normal(rows, cols), 0), buf(e, make([]float32, rows))
	check := func(name string) {
		e.Helper()
		if math.IsNaN(dot(wide(e.get(y)), make([]float64, rows*cols))) {
			y = e.mat(e.normal(rows, cols), 0)
			return
		}
		e.Errorf("%s loses NaN", name)
	}
	ones := buf(e, e.floats(cols, 1))
	square := e.mat(e.normal(cols, cols), 0)
	norm := device.Norm{Gamma: ones, Beta: ones, Mean: v, RStd: buf(e, make([]float32, rows))}
	e.lane.LinearGELU(y, device.Mat{}, x, square, ones, device.Dropping{})
	check("LinearGELU")
	e.lane.LinearGELU(e.mat(junk(rows, cols), 0), y, x, square, ones, device.Dropping{})
	check("slope of LinearGELU")
	clean := e.mat(e.normal(rows, cols), 0)
	e.lane.LinearAdd(y, x, clean, square, ones, device.Dropping{}, device.Norm{})
	check("LinearAdd")
	norm.Y = y
	e.lane.LayerNorm(x, norm)
	check("LayerNorm")
	e.lane.L2Norm(y, v, x)
	check("L2Norm")
	e.lane.Linear(y, x, square, device.F32{})
	check("Linear")
	qkv := spoiled(rows, 3*cols)
	qkv.v[0] = bad // a query; the other is a key
	e.lane.Attention(y, e.mat(qkv, 0), buf(e, make([]float32, rows)), e.segments(rows), 1)
	check("Attention")

	p := e.problem(shape{segments: []int{4}, dim: 4, pool: 3, items: 5, positives: []int{4}})
	p.lo, p.hi = []int32{0, 0, 0, 0}, []int32{2, 2, 3, 4}
	p.users.v[1] = bad
	if out, _, _ := p.run(e, 0); !math.IsNaN(out[0]) {
		e.Errorf("DenseAllAction of a NaN is %v", out[0])
	}
}
