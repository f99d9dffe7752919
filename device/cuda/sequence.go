//go:build cuda

package cuda

import "github.com/ringleader-dev/ringleader/device"

// widest is the width of a head that the attention's kernels have registers for.
const widest = 256

// Gather copies rows by index. An index out of range is Sync's to report.
func (l *lane) Gather(dst, src device.Mat, index device.I32) {
	l.rows("Gather", "dst", dst, "src", src, index).gather(dst, src, index, false)
}

// GatherAdd adds rows by index.
func (l *lane) GatherAdd(dst, src device.Mat, index device.I32) {
	l.rows("GatherAdd", "dst", dst, "src", src, index).gather(dst, src, index, true)
}

func (o op) gather(dst, src device.Mat, index device.I32, add bool) {
	o.launch("gather", elements(dst), 256, dst, dst.Cols, src, src.Rows, index, add, o.l.bad)
}

// ScatterAdd adds to rows by index.
func (l *lane) ScatterAdd(dst, src device.Mat, index device.I32) {
	l.rows("ScatterAdd", "src", src, "dst", dst, index).scatter(dst, src, index)
}

func (o op) scatter(dst, src device.Mat, index device.I32) {
	o.launch("scatter_add", grid{dst.Rows, 1}, 256, dst, dst.Cols, dst.Rows, src, src.Rows, index, o.l.bad)
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
	o := l.times("EncodeTime", "dst", dst, times, periods, phases)
	o.launch("encode_time", grid{dst.Rows, blocks(dst.Cols, 128)}, 128, dst, times, periods.N, periods, phases, logScale)
}

// EncodeTimeBackward adds to dphases.
func (l *lane) EncodeTimeBackward(dphases device.F32, dy device.Mat, times device.I64, periods device.F64, phases device.F32) {
	o := l.times("EncodeTimeBackward", "dy", dy, times, periods, phases)
	vec(o, "dphases", dphases, phases.N)
	o.launch("encode_time_backward", grid{phases.N, 1}, 128, dphases, dy, dy.Rows, times, periods, phases)
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
	o.launch("attention", grid{blocks(out.Rows, 4), heads}, 128, out, qkv, lse, seg.Dev, segmentCount(seg), out.Rows, out.Cols, heads, l.half)
}

// AttentionBackward overwrites dqkv.
func (l *lane) AttentionBackward(dqkv, dout, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.heads("AttentionBackward", out, qkv, lse, seg, heads)
	o.mat("dout", dout, out.Rows, out.Cols)
	o.mat("dqkv", dqkv, qkv.Rows, qkv.Cols)
	o.reserve(4 * lse.N)
	if !o.ok() {
		return
	}
	mean := take[float32](o, lse.N)
	g := grid{blocks(out.Rows, 4), heads}
	o.launch("attention_backward_q", g, 128, dqkv, mean, dout, out, qkv, lse, seg.Dev, segmentCount(seg), out.Rows, out.Cols, heads, l.half)
	o.launch("attention_backward_kv", g, 128, dqkv, mean, dout, qkv, lse, seg.Dev, segmentCount(seg), out.Rows, out.Cols, heads, l.half)
}

func (l *lane) heads(name string, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) op {
	o := l.begin(name)
	o.mat("out", out, out.Rows, out.Cols)
	o.mat("qkv", qkv, out.Rows, 3*out.Cols)
	o.want(heads > 0 && out.Cols%max(heads, 1) == 0, "heads is %d: want a divisor of the width, %d", heads, out.Cols)
	o.want(out.Cols <= widest*heads, "a head has %d columns: this device has room for %d", out.Cols/max(heads, 1), widest)
	o.segments(seg, out.Rows)
	if o.ok() {
		vec(o, "lse", lse, out.Rows*heads)
		vec(o, "seg.Dev", seg.Dev, len(seg.Host))
	}
	return o
}
