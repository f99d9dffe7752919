package model

import "github.com/ringleader-dev/ringleader/device"

// block runs block i on x and returns its output. Without a gradient, its output may overwrite x.
func (p *pass) block(i int, x device.Mat) device.Mat {
	n, w, tmp := &p.m.net.blocks[i], &p.ws.blocks[i], p.ws.tmp
	w.x0 = x
	p.norm(&w.norm1, x, n.norm1)
	p.linear(w.qkv, w.norm1.y, n.qkv)
	p.lane.Attention(w.attention, w.qkv, w.lse, p.in.segments, p.m.sizes.heads)
	p.linear(tmp, w.attention, n.output)
	p.lane.Add(w.x1, x, p.drop(tmp, tmp, place(i, 0)))

	p.norm(&w.norm2, w.x1, n.norm2)
	p.linear(w.up, w.norm2.y, n.up)
	p.lane.GELU(w.act, w.up)
	p.linear(tmp, p.drop(w.act, w.act, place(i, 1)), n.down)
	p.lane.Add(w.x2, w.x1, p.drop(tmp, tmp, place(i, 2)))
	return w.x2
}

// blockBackward turns ws.dx, the gradient of the block's output, into that of its input. The residual stream passes it on as it is;
// the way through each half is added by the backward of its norm.
func (p *pass) blockBackward(i int) {
	n, w, dx, tmp := &p.m.net.blocks[i], &p.ws.blocks[i], p.ws.dx, p.ws.dtmp
	act := within(p.ws.wide, w.up.Rows, w.up.Cols)
	p.linearBackward(act, p.drop(tmp, dx, place(i, 2)), w.act, n.down)
	p.drop(act, act, place(i, 1))
	p.lane.GELUBackward(act, act, w.up)
	p.linearBackward(tmp, act, w.norm2.y, n.up)
	p.normBackward(dx, tmp, w.x1, &w.norm2, n.norm2)

	qkv := within(p.ws.wide, w.qkv.Rows, w.qkv.Cols)
	attention := p.ws.tmp // the forward is done with it
	p.linearBackward(attention, p.drop(tmp, dx, place(i, 0)), w.attention, n.output)
	p.lane.AttentionBackward(qkv, attention, w.attention, w.qkv, w.lse, p.in.segments, p.m.sizes.heads)
	p.linearBackward(tmp, qkv, w.norm1.y, n.qkv)
	p.normBackward(dx, tmp, w.x0, &w.norm1, n.norm1)
}

// place numbers the dropouts: 0 behind the input, then three in each block.
func place(block, k int) int { return 1 + 3*block + k }

func (p *pass) norm(to *normSpace, x device.Mat, n norm) {
	p.lane.LayerNorm(to.y, x, n.gamma.vec(p.params), n.beta.vec(p.params), to.mean, to.rstd)
}

// normBackward adds to dx.
func (p *pass) normBackward(dx, dy, x device.Mat, w *normSpace, n norm) {
	p.lane.LayerNormBackward(dx, n.gamma.vec(p.grad), n.beta.vec(p.grad), dy, x, n.gamma.vec(p.params), w.mean, w.rstd)
}
