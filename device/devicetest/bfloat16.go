package devicetest

import (
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

// bfloat16Tolerance is how far results may be from their definitions if operands have 8 bits: roundings of 2^-9, which sums of a hundred terms and slopes of GELU
// amplify. It finds wrong operands; whether they are rounded rightly is bfloat16Rounding's question.
const bfloat16Tolerance = 0.1

// bfloat16: what has products in it does the same in bfloat16, but for the rounding. It must make a difference, too.
func bfloat16(e *env) {
	e.lane.SetPrecision(device.BFloat16)
	e.loose = bfloat16Tolerance
	for _, s := range scenarios() {
		switch s.name {
		case "Linear", "LinearLarge", "LinearGELU", "LinearAdd", "LinearSlope", "Attention", "AttentionLong", "DenseAllAction", "DenseAllActionLarge", "DenseAllActionMasked", "DenseAllActionEmpty":
			s.run(e)
		}
	}
	a := e.mat(e.normal(8, 64), 0)
	half, whole := e.mat(junk(8, 8), 0), e.mat(junk(8, 8), 0)
	e.lane.MatMul(half, 1, a, false, a, true, 0)
	e.lane.SetPrecision(device.Float32)
	e.loose = 0
	e.lane.MatMul(whole, 1, a, false, a, true, 0)
	x, y := e.get(half), e.get(whole)
	for i := range x {
		if x[i] != y[i] {
			return
		}
	}
	e.Error("products of bfloat16 are those of float32")
}

// rounded is the nearest bfloat16, ties to even.
func rounded(x float32) float32 {
	b := math.Float32bits(x)
	return math.Float32frombits((b + 0x7FFF + b>>16&1) &^ 0xFFFF)
}

// bfloat16Rounding: a product is the one of its rounded operands, as exact as in float32.
func bfloat16Rounding(e *env) {
	e.lane.SetPrecision(device.BFloat16)
	defer e.lane.SetPrecision(device.Float32)
	// A product with 1 shows the rounding itself: both sides of ties, of even and of odd numbers, and what rounds to infinity.
	edge := []float32{1, -1, 1.00390625, 1.01171875, 1.0039063, 1.0039062, -1.01171875, 3.0e-39, 0, 3.3895e38, math.MaxFloat32}
	one, x, y := e.mat(grid{1, 1, []float32{1}}, 0), e.mat(grid{1, len(edge), edge}, 0), e.mat(junk(1, len(edge)), 0)
	e.lane.MatMul(y, 1, one, false, x, false, 0)
	got := e.get(y)
	for i, v := range edge {
		if want := rounded(v); got[i] != want && math.Abs(float64(v)) > 1e-37 { // below, processors may take numbers for 0
			e.Errorf("1 * %v is %v: want %v", v, got[i], want)
		}
	}
	for trans := range 4 {
		for _, s := range [][3]int{{5, 7, 3}, {33, 17, 65}, {1, 64, 5}, {130, 40, 71}} {
			e.halfMatMul(s[0], s[1], s[2], trans&1 != 0, trans&2 != 0)
		}
	}
}

func (e *env) halfMatMul(m, n, k int, transA, transB bool) {
	a, b, c := e.normal(m, k), e.normal(k, n), e.normal(m, n)
	if transA {
		a.rows, a.cols = a.cols, a.rows
	}
	if transB {
		b.rows, b.cols = b.cols, b.rows
	}
	dst := e.mat(c, 3)
	e.lane.MatMul(dst, -0.5, e.mat(a, 1), transA, e.mat(b, 2), transB, 2)
	e.near(fmt.Sprintf("%dx%dx%d transA %v transB %v", m, n, k, transA, transB), e.get(dst), func() []float64 {
		p := product(halves(a.v), transA, halves(b.v), transB, m, n, k)
		for i := range p {
			p[i] = -0.5*p[i] + 2*float64(c.v[i])
		}
		return p
	})
}

func halves(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(rounded(v))
	}
	return y
}
