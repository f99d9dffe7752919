package devicetest

import (
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

func layerNorm(e *env) {
	for _, s := range [][3]int{{0, 4, 0}, {1, 2, 0}, {6, 9, 0}, {6, 9, 4}, {3, 77, 3}} {
		e.layerNorm(s[0], s[1], s[2])
	}
}

func (e *env) layerNorm(rows, cols, gap int) {
	name := fmt.Sprintf("%d x %d, gap %d: ", rows, cols, gap)
	x, dy, gamma, beta := e.normal(rows, cols), e.normal(rows, cols), e.floats(cols, 1), e.floats(cols, 1)
	for i := range x.v {
		x.v[i] = 3*x.v[i] + 7 // a mean that does not vanish
	}
	xf, gf, bf := wide(x.v), wide(gamma), wide(beta)
	forward := func() []float64 { return layerNormOf(xf, gf, bf, rows, cols) }
	loss := func() float64 { return dot(forward(), wide(dy.v)) }

	dx, dg, db := e.normal(rows, cols), e.floats(cols, 1), e.floats(cols, 1)
	xm, y, mean, rstd := e.mat(x, gap), e.mat(junk(rows, cols), gap), buf(e, junk(1, rows).v), buf(e, junk(1, rows).v)
	gb, dxm, dgb, dbb := buf(e, gamma), e.mat(dx, gap), buf(e, dg), buf(e, db)
	e.lane.LayerNorm(xm, device.Norm{Y: y, Gamma: gb, Beta: buf(e, beta), Mean: mean, RStd: rstd})
	e.lane.LayerNormBackward(dxm, dgb, dbb, e.mat(dy, gap), xm, gb, mean, rstd)
	e.near(name+"y", e.get(y), forward)
	e.near(name+"dx", e.get(dxm), func() []float64 { return plus(wide(dx.v), gradient(loss, xf)) })
	e.near(name+"dgamma", read(e, dgb), func() []float64 { return plus(wide(dg), gradient(loss, gf)) })
	e.near(name+"dbeta", read(e, dbb), func() []float64 { return plus(wide(db), gradient(loss, bf)) })
}

func layerNormOf(x, gamma, beta []float64, rows, cols int) []float64 {
	y := make([]float64, len(x))
	for r := range rows {
		row := x[r*cols : (r+1)*cols]
		var mean, square float64
		for _, v := range row {
			mean += v / float64(cols)
		}
		for _, v := range row {
			square += (v - mean) * (v - mean) / float64(cols)
		}
		for c, v := range row {
			y[r*cols+c] = (v-mean)/math.Sqrt(square+1e-5)*gamma[c] + beta[c]
		}
	}
	return y
}

func l2Norm(e *env) {
	for _, s := range [][3]int{{0, 4, 0}, {1, 1, 0}, {6, 9, 0}, {6, 9, 4}, {3, 77, 3}} {
		rows, cols, gap := s[0], s[1], s[2]
		x, dy := e.normal(rows, cols), e.normal(rows, cols)
		xf := wide(x.v)
		forward := func() []float64 {
			y := make([]float64, len(xf))
			for r := range rows {
				row := xf[r*cols : (r+1)*cols]
				for c, v := range row {
					y[r*cols+c] = v / max(math.Sqrt(dot(row, row)), 1e-12)
				}
			}
			return y
		}
		loss := func() float64 { return dot(forward(), wide(dy.v)) }
		y, norm, dx := e.mat(junk(rows, cols), gap), buf(e, junk(1, rows).v), e.mat(dy, gap)
		e.lane.L2Norm(y, norm, e.mat(x, gap))
		e.lane.L2NormBackward(dx, dx, y, norm)
		e.near(fmt.Sprint(s, " y"), e.get(y), forward)
		if cols > 1 { // of one column, the gradient is 0
			e.near(fmt.Sprint(s, " dx"), e.get(dx), func() []float64 { return gradient(loss, xf) })
		}
	}
	zero, norm := e.mat(grid{1, 5, make([]float32, 5)}, 0), buf(e, make([]float32, 1))
	e.lane.L2Norm(zero, norm, zero)
	same(e, "y of a row of zeros", e.get(zero), make([]float32, 5))
	same(e, "norm of a row of zeros", read(e, norm), []float32{1e-12})
}
