package cpu

// #include "kernels.h"
import "C"

import "github.com/ringleader-dev/ringleader/device"

// Gather copies rows by index. Indices out of range are an error.
func (l *lane) Gather(dst, src device.Mat, index device.I32) {
	if o := l.rows("Gather", "dst", dst, "src", src, index); o.ok() {
		o.end(C.cpu_gather(l.c, mat(dst), mat(src), addr(index)))
	}
}

// GatherAdd adds rows by index.
func (l *lane) GatherAdd(dst, src device.Mat, index device.I32) {
	if o := l.rows("GatherAdd", "dst", dst, "src", src, index); o.ok() {
		o.end(C.cpu_gather_add(l.c, mat(dst), mat(src), addr(index)))
	}
}

// ScatterAdd adds to rows by index.
func (l *lane) ScatterAdd(dst, src device.Mat, index device.I32) {
	if o := l.rows("ScatterAdd", "src", src, "dst", dst, index); o.ok() {
		o.end(C.cpu_scatter_add(l.c, mat(dst), mat(src), addr(index)))
	}
}

// rows checks that list has a row for each index, and table as many columns.
func (l *lane) rows(name, listName string, list device.Mat, tableName string, table device.Mat, index device.I32) op {
	o := l.begin(name)
	o.mat(listName, list, list.Rows, list.Cols)
	o.mat(tableName, table, table.Rows, list.Cols)
	vec(o, "index", index, list.Rows)
	return o
}

// EncodeTime encodes times.
func (l *lane) EncodeTime(dst device.Mat, times device.I64, periods device.F64, phases device.F32, logScale float32) {
	if o := l.times("EncodeTime", "dst", dst, times, periods, phases); o.ok() {
		o.end(C.cpu_encode_time(l.c, mat(dst), addr(times), C.int64_t(periods.N), addr(periods), addr(phases), C.float(logScale)))
	}
}

// EncodeTimeBackward adds to dphases.
func (l *lane) EncodeTimeBackward(dphases device.F32, dy device.Mat, times device.I64, periods device.F64, phases device.F32) {
	o := l.times("EncodeTimeBackward", "dy", dy, times, periods, phases)
	vec(o, "dphases", dphases, phases.N)
	if o.ok() {
		o.end(C.cpu_encode_time_backward(l.c, addr(dphases), mat(dy), addr(times), C.int64_t(periods.N), addr(periods), addr(phases)))
	}
}

func (l *lane) times(name, laneName string, lanes device.Mat, times device.I64, periods device.F64, phases device.F32) op {
	o := l.begin(name)
	o.mat(laneName, lanes, times.N, 2*periods.N+1)
	vec(o, "times", times, times.N)
	vec(o, "periods", periods, periods.N)
	vec(o, "phases", phases, 2*periods.N)
	return o
}

// Attention is causal inside each segment. Element t*heads+h of lse belongs to token t and head h.
func (l *lane) Attention(out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.heads("Attention", out, qkv, lse, seg, heads)
	if o.ok() {
		o.end(C.cpu_attention(l.c, mat(out), mat(qkv), addr(lse), host(seg.Host), C.int64_t(segmentCount(seg)), C.int64_t(heads)))
	}
}

// AttentionBackward overwrites dqkv.
func (l *lane) AttentionBackward(dqkv, dout, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.heads("AttentionBackward", out, qkv, lse, seg, heads)
	o.mat("dout", dout, out.Rows, out.Cols)
	o.mat("dqkv", dqkv, qkv.Rows, qkv.Cols)
	if o.ok() {
		o.end(C.cpu_attention_backward(l.c, mat(dqkv), mat(dout), mat(out), mat(qkv), addr(lse), host(seg.Host),
			C.int64_t(segmentCount(seg)), C.int64_t(heads)))
	}
}

func (l *lane) heads(name string, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) op {
	o := l.begin(name)
	o.mat("out", out, out.Rows, out.Cols)
	o.mat("qkv", qkv, out.Rows, 3*out.Cols)
	o.want(heads > 0 && out.Cols%max(heads, 1) == 0, "heads is %d: want a divisor of the width, %d", heads, out.Cols)
	o.segments(seg, out.Rows)
	if o.ok() {
		vec(o, "lse", lse, out.Rows*heads)
	}
	return o
}

// segmentCount is 0 for no offsets at all, which an empty shard may have.
func segmentCount(s device.Segments) int { return max(s.Count(), 0) }
