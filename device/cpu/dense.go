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
	o.Check.MatMul(dst, a, transA, b, transB)
	if o.OK() {
		o.end(C.cpu_matmul(l.c, mat(dst), C.float(alpha), mat(a), cbool(transA), mat(b), cbool(transB), C.float(beta)))
	}
}

// Linear is a product with a transposed weight, plus bias.
func (l *lane) Linear(y, x, w device.Mat, bias device.F32) {
	o := l.begin("Linear")
	o.Mat("x", x, x.Rows, x.Cols)
	o.Mat("w", w, w.Rows, x.Cols)
	o.Mat("y", y, x.Rows, w.Rows)
	if bias.N != 0 {
		device.CheckVec(o.Check, "bias", bias, w.Rows)
	}
	if o.OK() {
		o.end(C.cpu_linear(l.c, mat(y), mat(x), mat(w), optional(bias)))
	}
}

// LinearGELU also gives the slope, if it is wanted.
func (l *lane) LinearGELU(y, slope, x, w device.Mat, bias device.F32, drop device.Dropping) {
	o := l.begin("LinearGELU")
	o.Linear(y, x, w, bias)
	o.Wanted("slope", slope, y.Rows, y.Cols)
	o.Dropping(drop)
	if o.OK() {
		o.end(C.cpu_linear_gelu(l.c, mat(y), mat(slope), mat(x), mat(w), addr(bias), dropping(drop)))
	}
}

// LinearAdd normalises the sum, if that is wanted.
func (l *lane) LinearAdd(y, residual, x, w device.Mat, bias device.F32, drop device.Dropping, norm device.Norm) {
	o := l.begin("LinearAdd")
	o.Linear(y, x, w, bias)
	o.Mat("residual", residual, y.Rows, y.Cols)
	o.Dropping(drop)
	if !norm.Y.IsZero() {
		o.Norm(y, norm)
	}
	if o.OK() {
		o.end(C.cpu_linear_add(l.c, mat(y), mat(residual), mat(x), mat(w), addr(bias), dropping(drop), norming(norm)))
	}
}

// LinearBackward passes over dx, dw and slope if they are zero, and dbias if it is empty.
func (l *lane) LinearBackward(dx, dw device.Mat, dbias device.F32, dy, x, w, slope device.Mat) {
	o := l.begin("LinearBackward")
	o.Check.LinearBackward(dx, dw, dbias, dy, x, w, slope)
	if o.OK() {
		o.end(C.cpu_linear_backward(l.c, mat(dx), mat(dw), optional(dbias), mat(dy), mat(x), mat(w), mat(slope)))
	}
}

// Add adds matrices.
func (l *lane) Add(dst, a, b device.Mat) {
	o := l.begin("Add")
	o.Mat("dst", dst, dst.Rows, dst.Cols)
	o.Mat("a", a, dst.Rows, dst.Cols)
	o.Mat("b", b, dst.Rows, dst.Cols)
	if o.OK() {
		o.end(C.cpu_add(l.c, mat(dst), mat(a), mat(b)))
	}
}

// LayerNorm normalises rows.
func (l *lane) LayerNorm(x device.Mat, norm device.Norm) {
	o := l.begin("LayerNorm")
	o.Mat("x", x, x.Rows, x.Cols)
	o.Norm(x, norm)
	if o.OK() {
		o.end(C.cpu_layer_norm(l.c, mat(x), norming(norm)))
	}
}

func norming(n device.Norm) C.cpu_norm {
	return C.cpu_norm{y: mat(n.Y), gamma: addr(n.Gamma), beta: addr(n.Beta), mean: addr(n.Mean), rstd: addr(n.RStd)}
}

// LayerNormBackward adds to dx, dgamma and dbeta.
func (l *lane) LayerNormBackward(dx device.Mat, dgamma, dbeta device.F32, dy, x device.Mat, gamma, mean, rstd device.F32) {
	o := l.begin("LayerNormBackward")
	o.NormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd)
	if o.OK() {
		o.end(C.cpu_layer_norm_backward(l.c, mat(dx), addr(dgamma), addr(dbeta), mat(dy), mat(x), addr(gamma), addr(mean), addr(rstd)))
	}
}

// L2Norm makes rows of length 1.
func (l *lane) L2Norm(y device.Mat, norm device.F32, x device.Mat) {
	o := l.begin("L2Norm")
	o.Mat("x", x, x.Rows, x.Cols)
	o.Mat("y", y, x.Rows, x.Cols)
	device.CheckVec(o.Check, "norm", norm, x.Rows)
	if o.OK() {
		o.end(C.cpu_l2_norm(l.c, mat(y), addr(norm), mat(x)))
	}
}

// L2NormBackward takes L2Norm's output.
func (l *lane) L2NormBackward(dx, dy, y device.Mat, norm device.F32) {
	o := l.begin("L2NormBackward")
	o.Mat("y", y, y.Rows, y.Cols)
	o.Mat("dy", dy, y.Rows, y.Cols)
	o.Mat("dx", dx, y.Rows, y.Cols)
	device.CheckVec(o.Check, "norm", norm, y.Rows)
	if o.OK() {
		o.end(C.cpu_l2_norm_backward(l.c, mat(dx), mat(dy), mat(y), addr(norm)))
	}
}

// Dropout drops.
func (l *lane) Dropout(y, x device.Mat, drop device.Dropping) {
	o := l.begin("Dropout")
	o.Mat("y", y, y.Rows, y.Cols)
	o.Mat("x", x, y.Rows, y.Cols)
	o.Dropping(drop)
	if o.OK() {
		o.end(C.cpu_dropout(l.c, mat(y), mat(x), dropping(drop)))
	}
}

func dropping(d device.Dropping) C.cpu_dropping {
	// A draw is a whole number, so that "at least rate*2^24" is "at least its ceiling".
	return C.cpu_dropping{key: C.uint64_t(d.Key), threshold: C.uint32_t(math.Ceil(float64(d.Rate) * (1 << 24))), keep: C.float(1 - d.Rate)}
}
