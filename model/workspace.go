package model

import (
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// workspace are the activations of a pass, and the scratch memory of its way back. T tokens, S users, I items, R rows of a tower.
type workspace struct {
	tokens device.Mat // T x Din
	x      device.Mat // T x H: x0
	blocks []blockSpace
	final  normSpace // T x H
	output towerSpace
	items  towerSpace
	vector device.Mat // I x V: scaled item vectors

	zeros  device.F32 // max(T, I, V)
	tmp    device.Mat // T x H
	scalar device.F32

	dx, dtmp device.Mat // T x H
	dtokens  device.Mat // T x (columns behind the item vector)
	wide     device.F32 // a gradient of the widest activation of any operator

	goal deviceGoal
}

type normSpace struct {
	y          device.Mat
	mean, rstd device.F32
}

// blockSpace are the activations of one block; its input is the last block's x2.
type blockSpace struct {
	norm1     normSpace
	qkv       device.Mat // T x 3H
	attention device.Mat // T x H
	lse       device.F32 // T*heads
	x1        device.Mat // T x H: with attention added
	norm2     normSpace
	act       device.Mat // T x FFN: after GELU and dropout
	slope     device.Mat // T x FFN: and the derivative of that; with a gradient only
	x2        device.Mat // T x H: with the feed-forward part added

	x0 device.Mat // the input; set by the forward
}

type towerSpace struct {
	act, slope device.Mat // R x hidden, as those of a block
	y          device.Mat // R x D: before normalisation; its gradient on the way back
	unit       device.Mat // R x D
	norm       device.F32
}

// prepare takes users lo..hi-1 of a batch to the device and makes room: with the loss, for everything the way back needs; without, one
// block's room serves all blocks.
func (r *Runner) prepare(b *dataset.Batch, lo, hi int, withLoss bool) error {
	r.in.read(b, lo, hi, &r.m.features)
	return r.makeRoom(withLoss)
}

// makeRoom is prepare for inputs that have been read.
func (r *Runner) makeRoom(withLoss bool) error {
	if err := r.arena.fit(func() { r.reserve(withLoss) }); err != nil {
		return err
	}
	r.in.upload(r.lane)
	if withLoss {
		r.ws.goal.upload(r.lane, &r.goal)
	}
	device.Zero(r.lane, r.ws.zeros)
	return nil
}

func (r *Runner) reserve(withLoss bool) {
	a, w, s := &r.arena, &r.ws, &r.m.sizes
	t := len(r.in.recency)
	r.in.take(a)
	w.tokens, w.x = a.mat(t, r.m.inputWidth()-s.encoded), a.mat(t, s.width)
	for i := range w.blocks {
		if i == 0 || withLoss {
			w.blocks[i] = a.block(t, s, withLoss)
		} else {
			w.blocks[i] = w.blocks[0]
		}
	}
	w.tmp = a.mat(t, s.width)
	if !withLoss {
		served := len(r.in.newest)
		w.goal.newest = take[int32](a, served)
		w.final, w.output = a.norm(served, s), a.tower(served, s.ffn, s.dim, false)
		w.zeros = take[float32](a, max(t, s.vector))
		return
	}
	items := len(r.goal.items)
	w.final, w.output = a.norm(t, s), a.tower(t, s.ffn, s.dim, true)
	w.vector, w.items = a.mat(items, s.vector), a.tower(items, s.itemHidden, s.dim, true)
	w.zeros = take[float32](a, max(t, items, s.vector))
	w.goal.take(a, &r.goal)
	w.scalar = take[float32](a, 1)
	c := r.m.columns()
	w.dx, w.dtmp, w.dtokens = a.mat(t, s.width), a.mat(t, s.width), a.mat(t, c.end-c.action)
	w.wide = take[float32](a, max(t*leading(max(s.ffn, 3*s.width)), items*leading(s.itemHidden)))
}

func (a *arena) norm(t int, s *sizes) normSpace {
	return normSpace{a.mat(t, s.width), take[float32](a, t), take[float32](a, t)}
}

func (a *arena) block(t int, s *sizes, withLoss bool) blockSpace {
	b := blockSpace{
		norm1: a.norm(t, s), qkv: a.mat(t, 3*s.width), attention: a.mat(t, s.width), lse: take[float32](a, t*s.heads), x1: a.mat(t, s.width),
		norm2: a.norm(t, s), act: a.mat(t, s.ffn), x2: a.mat(t, s.width),
	}
	if withLoss {
		b.slope = a.mat(t, s.ffn)
	}
	return b
}

func (a *arena) tower(rows, hidden, dim int, withLoss bool) towerSpace {
	t := towerSpace{
		act: a.mat(rows, hidden), y: a.mat(rows, dim), unit: device.Matrix(take[float32](a, rows*dim), rows, dim), norm: take[float32](a, rows),
	}
	if withLoss {
		t.slope = a.mat(rows, hidden)
	}
	return t
}
