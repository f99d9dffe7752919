package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// goal is what a batch's tokens are to predict, and against what, on the host. Buffers are reused.
type goal struct {
	lo, hi   []int32   // T: the band of each token, positions in target
	weight   []float32 // T
	target   []int32   // items, a user's behind the other's
	items    []int32   // distinct: the pool first, then positives that are not in it
	pool     int
	poolBias []float32 // log multiplicity - log Q
	positive []int32   // rows of items, as target
	posBias  []float32
	mask     []uint32 // S x ceil(pool/32)

	row    []int32 // by item of the catalogue: its row in items, or -1
	counts []int32 // multiplicity in the pool
}

// deviceGoal is the same on the device.
type deviceGoal struct {
	items, positive           device.I32
	weight, poolBias, posBias device.F32
	mask                      device.U32
	newest                    device.I32 // without a loss: the tokens that are served
}

// gather collects the distinct items: the pool with its multiplicities, then the positives, and each user's mask.
//
// An item appears Q times in the pool on average, so that 1/Q makes the sum over the pool an estimate of the one over the catalogue without the
// user's own positives. A positive is not a draw: logq corrected leaves its score alone, logq on corrects it as the negatives are.
func (g *goal) gather(b *dataset.Batch, catalogue int, logQ []float32, mode string) error {
	if len(b.Negative) == 0 {
		return errors.New("the pool of negatives is empty: want at least one draw")
	}
	if mode != logQOff && len(logQ) != catalogue {
		return fmt.Errorf("log Q of %d items, want %d for loss.logq %s", len(logQ), catalogue, mode)
	}
	for len(g.row) < catalogue {
		g.row = append(g.row, -1)
	}
	g.items = g.items[:0]
	g.addPool(b.Negative, logQ, mode)
	g.addPositives(g.target, logQ, mode)
	g.hide(b)
	for _, item := range g.items {
		g.row[item] = -1
	}
	return nil
}

func (g *goal) addPool(draws []int32, logQ []float32, mode string) {
	g.counts, g.poolBias = g.counts[:0], g.poolBias[:0]
	for _, item := range draws {
		row := g.add(item)
		if int(row) == len(g.counts) {
			g.counts = append(g.counts, 0)
		}
		g.counts[row]++
	}
	g.pool = len(g.items)
	for row, item := range g.items {
		bias := logIEEE(float64(g.counts[row]))
		if mode != logQOff {
			bias -= float64(logQ[item])
		}
		g.poolBias = append(g.poolBias, float32(bias))
	}
}

func (g *goal) addPositives(items []int32, logQ []float32, mode string) {
	g.positive, g.posBias = g.positive[:0], g.posBias[:0]
	for _, item := range items {
		g.positive = append(g.positive, g.add(item))
		var bias float32
		if mode == logQOn {
			bias = -logQ[item]
		}
		g.posBias = append(g.posBias, bias)
	}
}

// add returns the row of an item, a new one if it has none.
func (g *goal) add(item int32) int32 {
	if g.row[item] < 0 {
		g.row[item] = int32(len(g.items))
		g.items = append(g.items, item)
	}
	return g.row[item]
}

// hide masks each user's own positives in the pool.
func (g *goal) hide(b *dataset.Batch) {
	words := (g.pool + 31) / 32
	g.mask = slices.Grow(g.mask[:0], len(b.User)*words)[:len(b.User)*words]
	clear(g.mask)
	for u := range b.User {
		mine := g.mask[u*words : (u+1)*words]
		for _, item := range b.OwnItem[b.OwnOffset[u]:b.OwnOffset[u+1]] {
			if row := g.row[item]; row >= 0 && int(row) < g.pool {
				mine[row/32] |= 1 << (row % 32)
			}
		}
	}
}

func (d *deviceGoal) take(a *arena, g *goal) {
	d.items, d.positive = take[int32](a, len(g.items)), take[int32](a, len(g.positive))
	d.weight, d.poolBias, d.posBias = take[float32](a, len(g.weight)), take[float32](a, len(g.poolBias)), take[float32](a, len(g.posBias))
	d.mask = take[uint32](a, len(g.mask))
}

func (d *deviceGoal) upload(lane device.Lane, g *goal) {
	device.Upload(lane, d.items, g.items)
	device.Upload(lane, d.positive, g.positive)
	device.Upload(lane, d.weight, g.weight)
	device.Upload(lane, d.poolBias, g.poolBias)
	device.Upload(lane, d.posBias, g.posBias)
	device.Upload(lane, d.mask, g.mask)
}

// describe is the loss of the embeddings in w.
func (g *goal) describe(w *workspace, segments device.Segments, invTau float32) device.AllAction {
	d := &w.goal
	return device.AllAction{
		Users: w.output.unit, Items: w.items.unit, Pool: g.pool, PoolBias: d.poolBias, Mask: d.mask, Seg: segments,
		Lo: g.lo, Hi: g.hi, Weight: d.weight, Positive: d.positive, PosBias: d.posBias, InvTau: invTau,
	}
}
