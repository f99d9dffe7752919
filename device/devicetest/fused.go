package devicetest

import (
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

// The operators that follow a linear map with more are compared with their parts, in float64.

// fusedShapes are rows, inputs, outputs, gap: the last ones reach the blocking of rows, and weights that are moved before they are used.
var fusedShapes = [][4]int{{0, 3, 4, 0}, {1, 1, 1, 0}, {6, 5, 7, 0}, {9, 4, 11, 5}, {100, 7, 33, 0}, {200, 128, 20, 3}}

var fusedDrops = []device.Dropping{{}, {Key: 77, Rate: .25}}

// mapped is x*w^T + bias.
func mapped(x, w grid, bias []float32) []float64 {
	y := product(wide(x.v), false, wide(w.v), true, x.rows, w.rows, x.cols)
	for i := range y {
		y[i] += float64(bias[i%w.rows])
	}
	return y
}

// afterDrop is x with dropout.
func afterDrop(x []float64, d device.Dropping) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		if kept(d, i) {
			y[i] = v / float64(1-d.Rate)
		}
	}
	return y
}

func each(x []float64, f func(x float64) float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

func gaussian(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }

func gaussianSlope(x float64) float64 {
	return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
}

func linearGELU(e *env) {
	for _, s := range fusedShapes {
		for _, d := range fusedDrops {
			e.linearGELU(fmt.Sprint(s, d, ": "), e.normal(s[0], s[1]), e.normal(s[2], s[1]), e.floats(s[2], 1), d, s[3])
		}
	}
}

// geluRange is the whole range, one value at a time: an error relative to the largest value would hide small ones.
func geluRange(e *env) {
	for v := float32(-9); v <= 9; v += 0.37 {
		one := func(x float32) grid { return grid{1, 1, []float32{x}} }
		e.linearGELU(fmt.Sprint(v, ": "), one(1), one(v), []float32{0}, device.Dropping{}, 0)
	}
}

func (e *env) linearGELU(name string, x, w grid, bias []float32, d device.Dropping, gap int) {
	xm, wm, bb := e.mat(x, gap), e.mat(w, gap), buf(e, bias)
	y, slope := e.mat(junk(x.rows, w.rows), gap), e.mat(junk(x.rows, w.rows), 2*gap)
	e.lane.LinearGELU(y, slope, xm, wm, bb, d)
	got := e.get(y)
	e.near(name+"y", got, func() []float64 { return afterDrop(each(mapped(x, w, bias), gaussian), d) })
	e.near(name+"slope", e.get(slope), func() []float64 { return afterDrop(each(mapped(x, w, bias), gaussianSlope), d) })
	e.lane.LinearGELU(y, device.Mat{}, xm, wm, bb, d)
	same(e, name+"y without slope", e.get(y), got)
}

func linearAdd(e *env) {
	for _, s := range fusedShapes {
		for _, d := range fusedDrops {
			for _, normed := range []bool{false, true} {
				e.linearAdd(s[0], s[1], s[2], s[3], d, normed)
			}
		}
	}
}

func (e *env) linearAdd(rows, in, out, gap int, d device.Dropping, normed bool) {
	name := fmt.Sprintf("%d rows, %d to %d, gap %d, drop %v, normed %v: ", rows, in, out, gap, d, normed)
	x, w, bias, residual := e.normal(rows, in), e.normal(out, in), e.floats(out, 1), e.normal(rows, out)
	gamma, beta := e.floats(out, 1), e.floats(out, 1)
	y := e.mat(junk(rows, out), gap)
	var norm device.Norm
	if normed {
		norm = device.Norm{Y: e.mat(junk(rows, out), 2*gap), Gamma: buf(e, gamma), Beta: buf(e, beta), Mean: buf(e, junk(1, rows).v), RStd: buf(e, junk(1, rows).v)}
	}
	e.lane.LinearAdd(y, e.mat(residual, gap), e.mat(x, gap), e.mat(w, gap), buf(e, bias), d, norm)
	sum := e.get(y)
	e.near(name+"y", sum, func() []float64 { return plus(wide(residual.v), afterDrop(mapped(x, w, bias), d)) })
	if !normed {
		return
	}
	// Of what was just computed, the normalisation is LayerNorm's to the bit.
	again := norm
	again.Y, again.Mean, again.RStd = e.mat(junk(rows, out), gap), buf(e, junk(1, rows).v), buf(e, junk(1, rows).v)
	e.lane.LayerNorm(y, again)
	same(e, name+"norm", e.get(norm.Y), e.get(again.Y))
	same(e, name+"mean", read(e, norm.Mean), read(e, again.Mean))
	same(e, name+"rstd", read(e, norm.RStd), read(e, again.RStd))
}

// linearSlope: dx is what it is without a slope, times the slope.
func linearSlope(e *env) {
	for _, s := range fusedShapes {
		rows, in, out, gap := s[0], s[1], s[2], s[3]
		dy, w, slope, x := e.mat(e.normal(rows, out), gap), e.mat(e.normal(out, in), gap), e.normal(rows, in), e.mat(e.normal(rows, in), gap)
		plain, dx := e.mat(junk(rows, in), gap), e.mat(junk(rows, in), 2*gap)
		e.lane.LinearBackward(plain, device.Mat{}, device.F32{}, dy, x, w, device.Mat{})
		e.lane.LinearBackward(dx, device.Mat{}, device.F32{}, dy, x, w, e.mat(slope, gap))
		want := e.get(plain)
		for i := range want {
			want[i] *= slope.v[i]
		}
		same(e, fmt.Sprint(s, ": dx"), e.get(dx), want)
	}
}
