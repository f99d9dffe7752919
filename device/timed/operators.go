package timed

import (
	"unsafe"

	"github.com/ringleader-dev/ringleader/device"
)

// The operators: each forwards, is timed under its name, and says which matrix products it amounts to.

// SetPrecision forwards.
func (l *lane) SetPrecision(p device.Precision) {
	l.run("SetPrecision", func() { l.to.SetPrecision(p) })
}

// Upload forwards.
func (l *lane) Upload(dst uintptr, src unsafe.Pointer, bytes int) {
	l.run("Upload", func() { l.to.Upload(dst, src, bytes) })
}

// Download forwards.
func (l *lane) Download(dst unsafe.Pointer, src uintptr, bytes int) {
	l.run("Download", func() { l.to.Download(dst, src, bytes) })
}

// Copy forwards.
func (l *lane) Copy(dst, src uintptr, bytes int) {
	l.run("Copy", func() { l.to.Copy(dst, src, bytes) })
}

// Zero forwards.
func (l *lane) Zero(dst uintptr, bytes int) {
	l.run("Zero", func() { l.to.Zero(dst, bytes) })
}

// MatMul forwards.
func (l *lane) MatMul(dst device.Mat, alpha float32, a device.Mat, transA bool, b device.Mat, transB bool, beta float32) {
	l.note(func() []Product { return matMul(dst, a, transA, transB) })
	l.run("MatMul", func() { l.to.MatMul(dst, alpha, a, transA, b, transB, beta) })
}

// Linear forwards.
func (l *lane) Linear(y, x, w device.Mat, bias device.F32) {
	l.note(func() []Product { return linear(x, w) })
	l.run("Linear", func() { l.to.Linear(y, x, w, bias) })
}

// LinearGELU forwards.
func (l *lane) LinearGELU(y, slope, x, w device.Mat, bias device.F32, drop device.Dropping) {
	l.note(func() []Product { return linear(x, w) })
	l.run("LinearGELU", func() { l.to.LinearGELU(y, slope, x, w, bias, drop) })
}

// LinearAdd forwards.
func (l *lane) LinearAdd(y, residual, x, w device.Mat, bias device.F32, drop device.Dropping, norm device.Norm) {
	l.note(func() []Product { return linear(x, w) })
	l.run("LinearAdd", func() { l.to.LinearAdd(y, residual, x, w, bias, drop, norm) })
}

// LinearBackward forwards.
func (l *lane) LinearBackward(dx, dw device.Mat, dbias device.F32, dy, x, w, slope device.Mat) {
	l.note(func() []Product { return linearBackward(dx, dw, dy, x) })
	l.run("LinearBackward", func() { l.to.LinearBackward(dx, dw, dbias, dy, x, w, slope) })
}

// Add forwards.
func (l *lane) Add(dst, a, b device.Mat) {
	l.run("Add", func() { l.to.Add(dst, a, b) })
}

// LayerNorm forwards.
func (l *lane) LayerNorm(x device.Mat, norm device.Norm) {
	l.run("LayerNorm", func() { l.to.LayerNorm(x, norm) })
}

// LayerNormBackward forwards.
func (l *lane) LayerNormBackward(dx device.Mat, dgamma, dbeta device.F32, dy, x device.Mat, gamma, mean, rstd device.F32) {
	l.run("LayerNormBackward", func() { l.to.LayerNormBackward(dx, dgamma, dbeta, dy, x, gamma, mean, rstd) })
}

// L2Norm forwards.
func (l *lane) L2Norm(y device.Mat, norm device.F32, x device.Mat) {
	l.run("L2Norm", func() { l.to.L2Norm(y, norm, x) })
}

// L2NormBackward forwards.
func (l *lane) L2NormBackward(dx, dy, y device.Mat, norm device.F32) {
	l.run("L2NormBackward", func() { l.to.L2NormBackward(dx, dy, y, norm) })
}

// Dropout forwards.
func (l *lane) Dropout(y, x device.Mat, drop device.Dropping) {
	l.run("Dropout", func() { l.to.Dropout(y, x, drop) })
}

// Gather forwards.
func (l *lane) Gather(dst, src device.Mat, index device.I32) {
	l.run("Gather", func() { l.to.Gather(dst, src, index) })
}

// GatherAdd forwards.
func (l *lane) GatherAdd(dst, src device.Mat, index device.I32) {
	l.run("GatherAdd", func() { l.to.GatherAdd(dst, src, index) })
}

// ScatterAdd forwards.
func (l *lane) ScatterAdd(dst, src device.Mat, index device.I32) {
	l.run("ScatterAdd", func() { l.to.ScatterAdd(dst, src, index) })
}

// EncodeTime forwards.
func (l *lane) EncodeTime(dst device.Mat, times device.I64, periods device.F64, phases device.F32, logScale float32) {
	l.run("EncodeTime", func() { l.to.EncodeTime(dst, times, periods, phases, logScale) })
}

// EncodeTimeBackward forwards.
func (l *lane) EncodeTimeBackward(dphases device.F32, dy device.Mat, times device.I64, periods device.F64, phases device.F32) {
	l.run("EncodeTimeBackward", func() { l.to.EncodeTimeBackward(dphases, dy, times, periods, phases) })
}

// Attention forwards.
func (l *lane) Attention(out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	l.note(func() []Product { return attention(qkv, seg, heads) })
	l.run("Attention", func() { l.to.Attention(out, qkv, lse, seg, heads) })
}

// AttentionBackward forwards.
func (l *lane) AttentionBackward(dqkv, dout, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	l.note(func() []Product { return attentionBackward(qkv, seg, heads) })
	l.run("AttentionBackward", func() { l.to.AttentionBackward(dqkv, dout, out, qkv, lse, seg, heads) })
}

// DenseAllAction forwards.
func (l *lane) DenseAllAction(out device.F64, dUsers, dItems device.Mat, a *device.AllAction) {
	l.note(func() []Product { return allAction(dItems, a) })
	l.run("DenseAllAction", func() { l.to.DenseAllAction(out, dUsers, dItems, a) })
}

// ToFixed forwards.
func (l *lane) ToFixed(acc device.I64, x device.F32, limit float32, bad device.I64) {
	l.run("ToFixed", func() { l.to.ToFixed(acc, x, limit, bad) })
}

// FromFixed forwards.
func (l *lane) FromFixed(x device.F32, acc device.I64, divisor float64) {
	l.run("FromFixed", func() { l.to.FromFixed(x, acc, divisor) })
}

// RaiseExponents forwards.
func (l *lane) RaiseExponents(exponents device.I8, x device.F32) {
	l.run("RaiseExponents", func() { l.to.RaiseExponents(exponents, x) })
}

// ToBlocks16 forwards.
func (l *lane) ToBlocks16(acc device.I16, x device.F32, exponents device.I8, fraction int, bad device.I64) {
	l.run("ToBlocks16", func() { l.to.ToBlocks16(acc, x, exponents, fraction, bad) })
}

// ToBlocks32 forwards.
func (l *lane) ToBlocks32(acc device.I32, x device.F32, exponents device.I8, fraction int, bad device.I64) {
	l.run("ToBlocks32", func() { l.to.ToBlocks32(acc, x, exponents, fraction, bad) })
}

// FromBlocks16 forwards.
func (l *lane) FromBlocks16(x device.F32, acc device.I16, exponents device.I8, fraction int, divisor float64) {
	l.run("FromBlocks16", func() { l.to.FromBlocks16(x, acc, exponents, fraction, divisor) })
}

// FromBlocks32 forwards.
func (l *lane) FromBlocks32(x device.F32, acc device.I32, exponents device.I8, fraction int, divisor float64) {
	l.run("FromBlocks32", func() { l.to.FromBlocks32(x, acc, exponents, fraction, divisor) })
}

// SquaredNorm forwards.
func (l *lane) SquaredNorm(x device.F32) (sum float64) {
	l.run("SquaredNorm", func() { sum = l.to.SquaredNorm(x) })
	return sum
}

// AdamW forwards.
func (l *lane) AdamW(p, m, v, g device.F32, a device.AdamW, h device.Hashes) {
	l.run("AdamW", func() { l.to.AdamW(p, m, v, g, a, h) })
}

// Hash forwards.
func (l *lane) Hash(x device.F32, first uint64) (sum uint64) {
	l.run("Hash", func() { sum = l.to.Hash(x, first) })
	return sum
}
