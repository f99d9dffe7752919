package cpu

// #include "kernels.h"
import "C"

import "github.com/ringleader-dev/ringleader/device"

// Gather copies rows by index. Indices out of range are an error.
func (l *lane) Gather(dst, src device.Mat, index device.I32) {
	o := l.begin("Gather")
	o.Rows("dst", dst, "src", src, index)
	if o.OK() {
		o.end(C.cpu_gather(l.c, mat(dst), mat(src), addr(index)))
	}
}

// GatherAdd adds rows by index.
func (l *lane) GatherAdd(dst, src device.Mat, index device.I32) {
	o := l.begin("GatherAdd")
	o.Rows("dst", dst, "src", src, index)
	if o.OK() {
		o.end(C.cpu_gather_add(l.c, mat(dst), mat(src), addr(index)))
	}
}

// ScatterAdd adds to rows by index.
func (l *lane) ScatterAdd(dst, src device.Mat, index device.I32) {
	o := l.begin("ScatterAdd")
	o.Rows("src", src, "dst", dst, index)
	if o.OK() {
		o.end(C.cpu_scatter_add(l.c, mat(dst), mat(src), addr(index)))
	}
}

// EncodeTime encodes times.
func (l *lane) EncodeTime(dst device.Mat, times device.I64, periods device.F64, phases device.F32, logScale float32) {
	o := l.begin("EncodeTime")
	o.Times("dst", dst, times, periods, phases)
	if o.OK() {
		o.end(C.cpu_encode_time(l.c, mat(dst), addr(times), C.int64_t(periods.N), addr(periods), addr(phases), C.float(logScale)))
	}
}

// EncodeTimeBackward adds to dphases.
func (l *lane) EncodeTimeBackward(dphases device.F32, dy device.Mat, times device.I64, periods device.F64, phases device.F32) {
	o := l.begin("EncodeTimeBackward")
	o.Times("dy", dy, times, periods, phases)
	device.CheckVec(o.Check, "dphases", dphases, phases.N)
	if o.OK() {
		o.end(C.cpu_encode_time_backward(l.c, addr(dphases), mat(dy), addr(times), C.int64_t(periods.N), addr(periods), addr(phases)))
	}
}

// Attention is causal inside each segment. Element t*heads+h of lse belongs to token t and head h.
func (l *lane) Attention(out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.begin("Attention")
	o.Heads(out, qkv, lse, seg, heads)
	if o.OK() {
		o.end(C.cpu_attention(l.c, mat(out), mat(qkv), addr(lse), host(seg.Host), C.int64_t(seg.Count()), C.int64_t(heads)))
	}
}

// AttentionBackward overwrites dqkv.
func (l *lane) AttentionBackward(dqkv, dout, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.begin("AttentionBackward")
	o.Heads(out, qkv, lse, seg, heads)
	o.Mat("dout", dout, out.Rows, out.Cols)
	o.Mat("dqkv", dqkv, qkv.Rows, qkv.Cols)
	if o.OK() {
		o.end(C.cpu_attention_backward(l.c, mat(dqkv), mat(dout), mat(out), mat(qkv), addr(lse), host(seg.Host),
			C.int64_t(seg.Count()), C.int64_t(heads)))
	}
}
