//go:build cuda

package cuda

import "github.com/ringleader-dev/ringleader/device"

// Gather copies rows by index. An index out of range is Sync's to report.
func (l *lane) Gather(dst, src device.Mat, index device.I32) {
	o := l.begin("Gather")
	o.Rows("dst", dst, "src", src, index)
	o.gather(dst, src, index, false)
}

// GatherAdd adds rows by index.
func (l *lane) GatherAdd(dst, src device.Mat, index device.I32) {
	o := l.begin("GatherAdd")
	o.Rows("dst", dst, "src", src, index)
	o.gather(dst, src, index, true)
}

func (o op) gather(dst, src device.Mat, index device.I32, add bool) {
	o.launch("gather", elements(dst), 256, dst, dst.Cols, src, src.Rows, index, add, o.l.bad)
}

// ScatterAdd adds to rows by index.
func (l *lane) ScatterAdd(dst, src device.Mat, index device.I32) {
	o := l.begin("ScatterAdd")
	o.Rows("src", src, "dst", dst, index)
	o.scatter(dst, src, index)
}

func (o op) scatter(dst, src device.Mat, index device.I32) {
	o.launch("scatter_add", grid{dst.Rows, 1}, 256, dst, dst.Cols, dst.Rows, src, src.Rows, index, o.l.bad)
}

// EncodeTime encodes times.
func (l *lane) EncodeTime(dst device.Mat, times device.I64, periods device.F64, phases device.F32, logScale float32) {
	o := l.begin("EncodeTime")
	o.Times("dst", dst, times, periods, phases)
	o.launch("encode_time", grid{dst.Rows, blocks(dst.Cols, 128)}, 128, dst, times, periods.N, periods, phases, logScale)
}

// EncodeTimeBackward adds to dphases.
func (l *lane) EncodeTimeBackward(dphases device.F32, dy device.Mat, times device.I64, periods device.F64, phases device.F32) {
	o := l.begin("EncodeTimeBackward")
	o.Times("dy", dy, times, periods, phases)
	device.CheckVec(o.Check, "dphases", dphases, phases.N)
	o.launch("encode_time_backward", grid{phases.N, 1}, 128, dphases, dy, dy.Rows, times, periods, phases)
}

// Attention is causal inside each segment. Element t*heads+h of lse belongs to token t and head h.
func (l *lane) Attention(out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.heads("Attention", out, qkv, lse, seg, heads)
	o.launch("attention_lse", grid{blocks(out.Rows, tile), heads}, 256, lse, qkv, seg.Dev, seg.Count(), out.Rows, out.Cols, heads, l.half)
	o.launch("attention", headTiles(out, heads), 256, out, qkv, lse, seg.Dev, seg.Count(), out.Rows, out.Cols, heads, l.half)
}

// headTiles is the grid of kernels of which a block takes 64 tokens and 64 columns of a head.
func headTiles(out device.Mat, heads int) grid {
	return grid{blocks(out.Rows, tile), heads * blocks(out.Cols/max(heads, 1), tile)}
}

// AttentionBackward overwrites dqkv.
func (l *lane) AttentionBackward(dqkv, dout, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) {
	o := l.heads("AttentionBackward", out, qkv, lse, seg, heads)
	o.Mat("dout", dout, out.Rows, out.Cols)
	o.Mat("dqkv", dqkv, qkv.Rows, qkv.Cols)
	o.reserve(4 * lse.N)
	if !o.OK() {
		return
	}
	mean := take[float32](o, lse.N)
	o.launch("attention_mean", grid{blocks(out.Rows, 4), heads}, 128, mean, dout, out, out.Rows, out.Cols, heads)
	o.launch("attention_backward_q", headTiles(out, heads), 256, dqkv, mean, dout, qkv, lse, seg.Dev, seg.Count(), out.Rows, out.Cols, heads, l.half)
	o.launch("attention_backward_kv", headTiles(out, heads), 256, dqkv, mean, dout, qkv, lse, seg.Dev, seg.Count(), out.Rows, out.Cols, heads, l.half)
}

func (l *lane) heads(name string, out, qkv device.Mat, lse device.F32, seg device.Segments, heads int) op {
	o := l.begin(name)
	o.Heads(out, qkv, lse, seg, heads)
	device.CheckVec(o.Check, "seg.Dev", seg.Dev, len(seg.Host))
	return o
}
