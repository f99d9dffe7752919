package cpu

// #include "kernels.h"
import "C"

import (
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

func cbool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// MatMul is a matrix product.
func (l *lane) MatMul(dst device.Mat, alpha float32, a device.Mat, transA bool, b device.Mat, transB bool, beta float32) {
	o := l.begin("MatMul")
	inner, brows, bcols := a.Cols, a.Cols, dst.Cols
	if transA {
		inner, brows = a.Rows, a.Rows
		o.mat("a", a, inner, dst.Rows)
	} else {
		o.mat("a", a, dst.Rows, inner)
	}
	if transB {
		brows, bcols = bcols, brows
	}
	o.mat("b", b, brows, bcols)
	o.mat("dst", dst, dst.Rows, dst.Cols)
	if o.ok() {
		o.end(C.cpu_matmul(l.c, mat(dst), C.float(alpha), mat(a), cbool(transA), mat(b), cbool(transB), C.float(beta)))
	}
}

// Linear is a product with a transposed weight, plus bias.
func (l *lane) Linear(y, x, w device.Mat, bias device.F32) {
	o := l.begin("Linear")
	o.mat("x", x, x.Rows, x.Cols)
	o.mat("w", w, w.Rows, x.Cols)
	o.mat("y", y, x.Rows, w.Rows)
	if bias.N != 0 {
		vec(o, "bias", bias, w.Rows)
	}
	if o.ok() {
		o.end(C.cpu_linear(l.c, mat(y), mat(x), mat(w), optional(bias)))
	}
}

// LinearBackward passes over dx and dw if they are zero, and dbias if it is empty.
func (l *lane) LinearBackward(dx, dw device.Mat, dbias device.F32, dy, x, w device.Mat) {
	o := l.begin("LinearBackward")
	o.mat("dy", dy, dy.Rows, dy.Cols)
	o.mat("x", x, dy.Rows, x.Cols)
	o.mat("w", w, dy.Cols, x.Cols)
	if !dx.IsZero() {
		o.mat("dx", dx, x.Rows, x.Cols)
	}
	if !dw.IsZero() {
		o.mat("dw", dw, w.Rows, w.Cols)
	}
	if dbias.N != 0 {
		vec(o, "dbias", dbias, dy.Cols)
	}
	if o.ok() {
		o.end(C.cpu_linear_backward(l.c, mat(dx), mat(dw), optional(dbias), mat(dy), mat(x), mat(w)))
	}
}

// Add adds matrices.
func (l *lane) Add(dst, a, b device.Mat) {
	o := l.begin("Add")
	o.mat("dst", dst, dst.Rows, dst.Cols)
	o.mat("a", a, dst.Rows, dst.Cols)
	o.mat("b", b, dst.Rows, dst.Cols)
	if o.ok() {
		o.end(C.cpu_add(l.c, mat(dst), mat(a), mat(b)))
	}
}

// GELU is exact, not the approximation by tanh.
func (l *lane) GELU(y, x device.Mat) {
	o := l.begin("GELU")
	o.mat("y", y, y.Rows, y.Cols)
	o.mat("x", x, y.Rows, y.Cols)
	if o.ok() {
		o.end(C.cpu_gelu(l.c, mat(y), mat(x)))
	}
}

// GELUBackward takes GELU's input.
func (l *lane) GELUBackward(dx, dy, x device.Mat) {
	o := l.begin("GELUBackward")
	o.mat("dx", dx, dx.Rows, dx.Cols)
	o.mat("dy", dy, dx.Rows, dx.Cols)
	o.mat("x", x, dx.Rows, dx.Cols)
	if o.ok() {
		o.end(C.cpu_gelu_backward(l.c, mat(dx), mat(dy), mat(x)))
	}
}

// LayerNorm normalises rows.
func (l *lane) LayerNorm(y, x device.Mat, gamma, beta, mean, rstd device.F32) {
	o := l.begin("LayerNorm")
	o.mat("x", x, x.Rows, x.Cols)
	o.mat("y", y, x.Rows, x.Cols)
	vec(o, "gamma", gamma, x.Cols)
	vec(o, "beta", beta, x.Cols)
	vec(o, "mean", mean, x.Rows)
	vec(o, "rstd", rstd, x.Rows)
	if o.ok() {
		o.end(C.cpu_layer_norm(l.c, mat(y), mat(x), addr(gamma), addr(beta), addr(mean), addr(rstd)))
	}
}

// LayerNormBackward adds to dx, dgamma and dbeta.
func (l *lane) LayerNormBackward(dx device.Mat, dgamma, dbeta device.F32, dy, x device.Mat, gamma, mean, rstd device.F32) {
	o := l.begin("LayerNormBackward")
	o.mat("x", x, x.Rows, x.Cols)
	o.mat("dy", dy, x.Rows, x.Cols)
	o.mat("dx", dx, x.Rows, x.Cols)
	vec(o, "gamma", gamma, x.Cols)
	vec(o, "dgamma", dgamma, x.Cols)
	vec(o, "dbeta", dbeta, x.Cols)
	vec(o, "mean", mean, x.Rows)
	vec(o, "rstd", rstd, x.Rows)
	if o.ok() {
		o.end(C.cpu_layer_norm_backward(l.c, mat(dx), addr(dgamma), addr(dbeta), mat(dy), mat(x), addr(gamma), addr(mean), addr(rstd)))
	}
}

// L2Norm makes rows of length 1.
func (l *lane) L2Norm(y device.Mat, norm device.F32, x device.Mat) {
	o := l.begin("L2Norm")
	o.mat("x", x, x.Rows, x.Cols)
	o.mat("y", y, x.Rows, x.Cols)
	vec(o, "norm", norm, x.Rows)
	if o.ok() {
		o.end(C.cpu_l2_norm(l.c, mat(y), addr(norm), mat(x)))
	}
}

// L2NormBackward takes L2Norm's output.
func (l *lane) L2NormBackward(dx, dy, y device.Mat, norm device.F32) {
	o := l.begin("L2NormBackward")
	o.mat("y", y, y.Rows, y.Cols)
	o.mat("dy", dy, y.Rows, y.Cols)
	o.mat("dx", dx, y.Rows, y.Cols)
	vec(o, "norm", norm, y.Rows)
	if o.ok() {
		o.end(C.cpu_l2_norm_backward(l.c, mat(dx), mat(dy), mat(y), addr(norm)))
	}
}

// Dropout drops with probability rate, 0 <= rate < 1.
func (l *lane) Dropout(y, x device.Mat, key uint64, rate float32) {
	o := l.begin("Dropout")
	o.mat("y", y, y.Rows, y.Cols)
	o.mat("x", x, y.Rows, y.Cols)
	o.want(rate >= 0 && rate < 1, "rate is %v: want at least 0 and less than 1", rate)
	if o.ok() {
		// A draw is a whole number, so that "at least rate*2^24" is "at least its ceiling".
		threshold := uint32(math.Ceil(float64(rate) * (1 << 24)))
		o.end(C.cpu_dropout(l.c, mat(y), mat(x), C.uint64_t(key), C.uint32_t(threshold), C.float(1-rate)))
	}
}
