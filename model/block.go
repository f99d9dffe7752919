package model

import (
	"context"

	"github.com/ringleader-dev/ringleader/device"
)

// block runs block i on x, whose norm1 has been taken, and returns its output; after, unless it is zero, receives the norm of that. Without a
// gradient, the output may overwrite x.
func (p *pass) block(i int, x device.Mat, after device.Norm) device.Mat {
	n, w := &p.m.net.blocks[i], &p.ws.blocks[i]
	w.x0 = x
	p.linear(w.qkv, w.norm1.y, n.qkv)
	p.lane.Attention(w.attention, w.qkv, w.lse, p.in.segments, p.m.sizes.heads)
	p.linearAdd(w.x1, x, w.attention, n.output, p.dropping(place(i, 0)), p.norm(&w.norm2, n.norm2))
	p.linearGELU(w.act, w.slope, w.norm2.y, n.up, p.dropping(place(i, 1)))
	p.linearAdd(w.x2, w.x1, w.act, n.down, p.dropping(place(i, 2)), after)
	return w.x2
}

// blocks runs them all, unless ctx ends before; after is for the last one's output.
func (p *pass) blocks(ctx context.Context, x device.Mat, after device.Norm) device.Mat {
	list := p.ws.blocks
	p.lane.LayerNorm(x, p.norm(&list[0].norm1, p.m.net.blocks[0].norm1))
	for i := range list {
		next := after
		if i+1 < len(list) {
			next = p.norm(&list[i+1].norm1, p.m.net.blocks[i+1].norm1)
		}
		during(ctx, func() { x = p.block(i, x, next) })
	}
	return x
}

// blockBackward turns ws.dx, the gradient of the block's output, into that of its input. The residual stream passes it on as it is;
// the way through each half is added by the backward of its norm.
func (p *pass) blockBackward(i int) {
	n, w, dx, tmp := &p.m.net.blocks[i], &p.ws.blocks[i], p.ws.dx, p.ws.dtmp
	act := within(p.ws.wide, w.act.Rows, w.act.Cols)
	p.linearBackward(act, p.drop(tmp, dx, p.dropping(place(i, 2))), w.act, n.down, w.slope)
	p.linearBackward(tmp, act, w.norm2.y, n.up, device.Mat{})
	p.normBackward(dx, tmp, w.x1, &w.norm2, n.norm2)

	qkv := within(p.ws.wide, w.qkv.Rows, w.qkv.Cols)
	attention := p.ws.tmp
	p.linearBackward(attention, p.drop(tmp, dx, p.dropping(place(i, 0))), w.attention, n.output, device.Mat{})
	p.lane.AttentionBackward(qkv, attention, w.attention, w.qkv, w.lse, p.in.segments, p.m.sizes.heads)
	p.linearBackward(tmp, qkv, w.norm1.y, n.qkv, device.Mat{})
	p.normBackward(dx, tmp, w.x0, &w.norm1, n.norm1)
}

// norm is where a normalisation goes.
func (p *pass) norm(to *normSpace, n norm) device.Norm {
	return device.Norm{Y: to.y, Gamma: n.gamma.vec(p.params), Beta: n.beta.vec(p.params), Mean: to.mean, RStd: to.rstd}
}

// normBackward adds to dx.
func (p *pass) normBackward(dx, dy, x device.Mat, w *normSpace, n norm) {
	p.lane.LayerNormBackward(dx, n.gamma.vec(p.grad), n.beta.vec(p.grad), dy, x, n.gamma.vec(p.params), w.mean, w.rstd)
}

// place numbers the dropouts: 0 behind the input, then three in each block.
func place(block, k int) int { return 1 + 3*block + k }
