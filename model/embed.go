package model

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// Embeddings are computed in blocks of so many tokens and items, which bounds the memory they need. A block holds whole users.
const (
	blockTokens = 4096
	blockItems  = 4096
)

// Users writes the embedding at each user's newest token, without dropout, to out: users x D. It is the zero vector for a user without tokens. Of the batch
// only users and tokens are read.
func (r *Runner) Users(params device.F32, b *dataset.Batch, out []float32) error {
	if err := r.check(params, b); err != nil {
		return fmt.Errorf("embed users: %w", err)
	}
	if want := len(b.User) * r.m.sizes.dim; len(out) != want {
		return fmt.Errorf("embed users: room for %d numbers, want %d", len(out), want)
	}
	clear(out)
	for lo := 0; lo < len(b.User); {
		hi := lo + 1
		for hi < len(b.User) && b.Offset[hi+1]-b.Offset[lo] <= blockTokens {
			hi++
		}
		if err := r.embed(params, b, lo, hi, out); err != nil {
			return fmt.Errorf("embed users: %w", err)
		}
		lo = hi
	}
	return nil
}

func (r *Runner) embed(params device.F32, b *dataset.Batch, lo, hi int, out []float32) error {
	if err := r.prepare(b, lo, hi, false); err != nil {
		return err
	}
	served := r.in.served
	if len(served) == 0 {
		return nil
	}
	p := pass{Runner: r, params: params}
	x := p.blocks(context.Background(), p.encode(), device.Norm{})
	newest := r.ws.tmp.RowRange(0, len(served))
	device.Upload(r.lane, r.ws.goal.newest, r.in.newest)
	r.lane.Gather(newest, x, r.ws.goal.newest)
	r.lane.LayerNorm(newest, p.finalNorm())
	p.head()
	dim := r.m.sizes.dim
	r.rows = slices.Grow(r.rows[:0], len(served)*dim)[:len(served)*dim]
	device.Download(r.lane, r.rows, r.ws.output.unit.Data)
	if err := r.lane.Sync(); err != nil {
		return err
	}
	for i, u := range served {
		copy(out[int(u)*dim:int(u+1)*dim], r.rows[i*dim:])
	}
	return nil
}

// Items writes the embeddings of the whole catalogue to out: items x D.
func (r *Runner) Items(params device.F32, out []float32) error {
	if params.N != r.m.length {
		return fmt.Errorf("embed items: parameters: %d elements, want %d", params.N, r.m.length)
	}
	s := &r.m.sizes
	if want := s.items * s.dim; len(out) != want {
		return fmt.Errorf("embed items: room for %d numbers, want %d", len(out), want)
	}
	for lo := 0; lo < s.items; lo += blockItems {
		hi := min(lo+blockItems, s.items)
		if err := r.embedItems(params, lo, hi, out[lo*s.dim:hi*s.dim]); err != nil {
			return fmt.Errorf("embed items: %w", err)
		}
	}
	return nil
}

func (r *Runner) embedItems(params device.F32, lo, hi int, out []float32) error {
	n, s, w := hi-lo, &r.m.sizes, &r.ws
	err := r.arena.fit(func() {
		a := &r.arena
		w.goal.items = take[int32](a, n)
		w.zeros = take[float32](a, max(n, s.vector))
		w.vector, w.items = a.mat(n, s.vector), a.tower(n, s.itemHidden, s.dim, false)
	})
	if err != nil {
		return err
	}
	index := make([]int32, n)
	for i := range index {
		index[i] = int32(lo + i)
	}
	device.Zero(r.lane, w.zeros)
	device.Upload(r.lane, w.goal.items, index)
	p := pass{Runner: r, params: params}
	p.itemTower()
	device.Download(r.lane, out, w.items.unit.Data)
	return r.lane.Sync()
}
