//go:build cuda

package cuda

import "github.com/ringleader-dev/ringleader/device"

// tile is the side of a product's tiles.
const tile = 64

// product queues dst = alpha*op(a)*op(b) + beta*dst of checked operands, with cuBLASLt if that can.
func (o op) product(dst device.Mat, alpha float32, a device.Mat, transA bool, b device.Mat, transB bool, beta float32) {
	if o.multiply(dst, alpha, a, transA, b, transB, beta) {
		return
	}
	inner, aRows, aInners, bCols, bInners := a.Cols, a.Stride, 1, 1, b.Stride
	if transA {
		inner, aRows, aInners = a.Rows, 1, a.Stride
	}
	if transB {
		bCols, bInners = b.Stride, 1
	}
	o.launch("gemm", grid{blocks(dst.Cols, tile), blocks(dst.Rows, tile)}, 256, dst, dst.Rows, dst.Cols, inner, a.Data, aRows, aInners, b.Data, bCols, bInners,
		alpha, beta, o.l.half)
}

// elements is the grid of kernels of which a thread takes an element.
func elements(m device.Mat) grid { return grid{m.Rows, blocks(m.Cols, 256)} }

// MatMul is a matrix product.
func (l *lane) MatMul(dst device.Mat, alpha float32, a device.Mat, transA bool, b device.Mat, transB bool, beta float32) {
	o := l.begin("MatMul")
	o.Check.MatMul(dst, a, transA, b, transB)
	o.product(dst, alpha, a, transA, b, transB, beta)
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
	o.product(y, 1, x, false, w, true, 0)
	if bias.N != 0 {
		o.launch("add_bias", elements(y), 256, y, y.Cols, bias)
	}
}

// LinearGELU also gives the slope, if it is wanted.
func (l *lane) LinearGELU(y, slope, x, w device.Mat, bias device.F32, drop device.Dropping) {
	o := l.begin("LinearGELU")
	o.Linear(y, x, w, bias)
	o.Wanted("slope", slope, y.Rows, y.Cols)
	o.Dropping(drop)
	o.product(y, 1, x, false, w, true, 0)
	o.launch("gelu", elements(y), 256, y, slope, y.Cols, bias, drop)
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
	o.product(y, 1, x, false, w, true, 0)
	o.launch("add_residual", elements(y), 256, y, residual, y.Cols, bias, drop)
	if !norm.Y.IsZero() {
		o.normalise(y, norm)
	}
}

// LinearBackward passes over dx, dw and slope if they are zero, and dbias if it is empty.
func (l *lane) LinearBackward(dx, dw device.Mat, dbias device.F32, dy, x, w, slope device.Mat) {
	o := l.begin("LinearBackward")
	o.Check.LinearBackward(dx, dw, dbias, dy, x, w, slope)
	if dbias.N != 0 {
		o.launch("column_sums", grid{blocks(dy.Cols, 32), 1}, 256, dbias, dy, dy.Rows, dy.Cols)
	}
	if !dw.IsZero() {
		o.product(dw, 1, dy, true, x, false, 1)
	}
	if dx.IsZero() {
		return
	}
	o.product(dx, 1, dy, false, w, false, 0)
	if !slope.IsZero() {
		o.launch("scale_by", elements(dx), 256, dx, slope, dx.Cols)
	}
}

// Add adds matrices.
func (l *lane) Add(dst, a, b device.Mat) {
	o := l.begin("Add")
	o.Mat("dst", dst, dst.Rows, dst.Cols)
	o.Mat("a", a, dst.Rows, dst.Cols)
	o.Mat("b", b, dst.Rows, dst.Cols)
	o.launch("add", elements(dst), 256, dst, a, b, dst.Cols)
}

// Dropout drops.
func (l *lane) Dropout(y, x device.Mat, drop device.Dropping) {
	o := l.begin("Dropout")
	o.Mat("y", y, y.Rows, y.Cols)
	o.Mat("x", x, y.Rows, y.Cols)
	o.Dropping(drop)
	o.launch("dropout", elements(y), 256, y, x, y.Cols, drop)
}

// rowsOf is the grid of kernels of which a warp takes a row.
func rowsOf(rows int) grid { return grid{blocks(rows, 4), 1} }

func (o op) normalise(x device.Mat, n device.Norm) {
	o.launch("layer_norm", rowsOf(x.Rows), 128, n.Y, x, x.Rows, x.Cols, n.Gamma, n.Beta, n.Mean, n.RStd)
}

// LayerNorm normalises rows.
func (l *lane) LayerNorm(x device.Mat, norm device.Norm) {
	o := l.begin("LayerNorm")
	o.Mat("x", x, x.Rows, x.Cols)
	o.Norm(x, norm)
	o.normalise(x, norm)
}

// LayerNormBackward adds to dx, dgamma and dbeta.
func (l *lane) LayerNormBackward(dx device.Mat, dgamma, dbeta device.F32, dy, x device.Mat, gamma, mean, rstd device.F32) {
	o := l.begin("LayerNormBackward")
	o.NormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd)
	o.launch("layer_norm_weights", grid{blocks(x.Cols, 32), 1}, 256, dgamma, dbeta, dy, x, x.Rows, x.Cols, mean, rstd)
	o.launch("layer_norm_backward", rowsOf(x.Rows), 128, dx, dy, x, x.Rows, x.Cols, gamma, mean, rstd)
}

// L2Norm makes rows of length 1.
func (l *lane) L2Norm(y device.Mat, norm device.F32, x device.Mat) {
	o := l.begin("L2Norm")
	o.Mat("x", x, x.Rows, x.Cols)
	o.Mat("y", y, x.Rows, x.Cols)
	device.CheckVec(o.Check, "norm", norm, x.Rows)
	o.launch("l2_norm", rowsOf(x.Rows), 128, y, norm, x, x.Rows, x.Cols)
}

// L2NormBackward takes L2Norm's output.
func (l *lane) L2NormBackward(dx, dy, y device.Mat, norm device.F32) {
	o := l.begin("L2NormBackward")
	o.Mat("y", y, y.Rows, y.Cols)
	o.Mat("dy", dy, y.Rows, y.Cols)
	o.Mat("dx", dx, y.Rows, y.Cols)
	device.CheckVec(o.Check, "norm", norm, y.Rows)
	o.launch("l2_norm_backward", rowsOf(y.Rows), 128, dx, dy, y, norm, y.Rows, y.Cols)
}
