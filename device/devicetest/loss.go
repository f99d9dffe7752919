package devicetest

import (
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

// shape of a random loss problem.
type shape struct {
	segments   []int // tokens of each
	positives  []int // of each segment
	dim        int
	pool       int
	items      int
	maskAll    bool // every pool item is masked for segment 0
	noPositive bool // no token has one
}

// problem is a loss problem on the host.
type problem struct {
	shape
	users, items              grid
	poolBias, posBias, weight []float32
	offsets, positive, lo, hi []int32
	mask                      []uint32
	invTau                    float32
}

func (e *env) problem(s shape) *problem {
	p := &problem{shape: s, invTau: 9, offsets: []int32{0}}
	first := int32(0)
	for i, n := range s.segments {
		p.offsets = append(p.offsets, p.offsets[i]+int32(n))
		p.band(e, n, first, s.positives[i])
		first += int32(s.positives[i])
	}
	n := len(p.lo)
	p.users, p.items = e.unit(n, s.dim), e.unit(s.items, s.dim)
	p.poolBias, p.posBias, p.weight = e.floats(s.pool, 1), e.floats(int(first), 1), make([]float32, n)
	p.positive = e.ints(int(first), s.items)
	for i := range p.weight {
		p.weight[i] = e.rng.Float32()
	}
	words := (s.pool + 31) / 32
	p.mask = make([]uint32, len(s.segments)*words)
	for i := range p.mask {
		p.mask[i] = e.rng.Uint32() & e.rng.Uint32()
		if s.maskAll && i < words {
			p.mask[i] = math.MaxUint32
		}
	}
	return p
}

// band gives n tokens bands within first..first+count, with ties, equal neighbours and empty ones.
func (p *problem) band(e *env, n int, first int32, count int) {
	lo, hi := int32(0), int32(0)
	for range n {
		if e.rng.IntN(3) > 0 {
			lo = min(lo+e.rng.Int32N(3), int32(count))
			hi = min(max(hi, lo+e.rng.Int32N(int32(count)/4+3)), int32(count))
		}
		if p.noPositive || hi < lo || e.rng.IntN(6) == 0 {
			p.lo, p.hi = append(p.lo, first+lo), append(p.hi, first+lo)
			continue
		}
		p.lo, p.hi = append(p.lo, first+lo), append(p.hi, first+hi)
	}
}

func (p *problem) masked(segment, n int) bool {
	return p.mask[segment*((p.pool+31)/32)+n/32]>>(n%32)&1 != 0
}

// loss is the definition, for each pair on its own: -log of the positive's share among itself and the pool.
func (p *problem) loss(users, items []float64, invTau float64) (total float64) {
	row := func(x []float64, r int) []float64 { return x[r*p.dim : (r+1)*p.dim] }
	for s := range p.segments {
		for m := int(p.offsets[s]); m < int(p.offsets[s+1]); m++ {
			if p.lo[m] >= p.hi[m] {
				continue
			}
			var pool float64
			for n := range p.pool {
				if !p.masked(s, n) {
					pool += math.Exp(invTau*dot(row(users, m), row(items, n)) + float64(p.poolBias[n]))
				}
			}
			for j := p.lo[m]; j < p.hi[m]; j++ {
				own := math.Exp(invTau*dot(row(users, m), row(items, int(p.positive[j]))) + float64(p.posBias[j]))
				total -= float64(p.weight[m]) * math.Log(own/(own+pool))
			}
		}
	}
	return total
}

// args is the problem on the device.
func (p *problem) args(e *env, gap int) *device.AllAction {
	return &device.AllAction{
		Users: e.mat(p.users, gap), Items: e.mat(p.items, gap), Pool: p.pool, PoolBias: buf(e, p.poolBias), Mask: buf(e, p.mask),
		Seg: device.Segments{Host: p.offsets, Dev: buf(e, p.offsets)},
		Lo:  p.lo, Hi: p.hi, Weight: buf(e, p.weight), Positive: buf(e, p.positive), PosBias: buf(e, p.posBias), InvTau: p.invTau,
	}
}

// run computes on the device: out begins as 3.5 and -2, gradients as junk.
func (p *problem) run(e *env, gap int) (out []float64, dUsers, dItems []float32) {
	o := buf(e, []float64{3.5, -2})
	du, di := e.mat(junk(p.users.rows, p.dim), gap), e.mat(junk(p.items.rows, p.dim), gap)
	e.lane.DenseAllAction(o, du, di, p.args(e, gap))
	return read(e, o), e.get(du), e.get(di)
}

// check compares the loss, its gradients and its derivative by log tau; some is how many elements of gradients, 0 is all.
func (p *problem) check(e *env, gap, some int) {
	e.Helper()
	name := fmt.Sprintf("segments %v, positives %v, pool %d of %d: ", p.segments, p.positives, p.pool, p.shape.items)
	out, du, di := p.run(e, gap)
	u, v, invTau := wide(p.users.v), wide(p.items.v), float64(p.invTau)
	loss := func() float64 { return p.loss(u, v, invTau) }
	e.near(name+"loss", []float32{float32(out[0] - 3.5)}, func() []float64 { return []float64{loss()} })
	e.near(name+"dlog tau", []float32{float32(out[1] + 2)}, func() []float64 {
		theta := -math.Log(invTau)
		return []float64{slope(func() float64 { return p.loss(u, v, math.Exp(-theta)) }, &theta)}
	})
	if some == 0 {
		e.near(name+"dUsers", du, func() []float64 { return gradient(loss, u) })
		e.near(name+"dItems", di, func() []float64 { return gradient(loss, v) })
		return
	}
	su, si := e.sample(some, len(u)), e.sample(some, len(v))
	e.near(name+"dUsers", su.of(du), func() []float64 { return su.gradient(loss, u) })
	e.near(name+"dItems", si.of(di), func() []float64 { return si.gradient(loss, v) })
}

func denseAllAction(e *env) {
	for range 6 {
		e.problem(shape{segments: []int{4, 0, 1, 7}, positives: []int{5, 2, 1, 9}, dim: 3, pool: 9, items: 14}).check(e, 0, 0)
		e.problem(shape{segments: []int{6, 3}, positives: []int{20, 0}, dim: 5, pool: 1, items: 4}).check(e, 3, 0)
	}
	e.problem(shape{segments: []int{3, 5}, positives: []int{4, 6}, dim: 4, pool: 65, items: 65}).check(e, 0, 0)
}

// denseAllActionLarge has more tokens, positives and pool items than any block.
func denseAllActionLarge(e *env) {
	e.problem(shape{segments: []int{150, 30, 1, 40}, positives: []int{900, 10, 3, 0}, dim: 8, pool: 300, items: 400}).check(e, 0, 12)
}

// denseAllActionMasked: without any negative, a positive is certain.
func denseAllActionMasked(e *env) {
	p := e.problem(shape{segments: []int{5}, positives: []int{6}, dim: 4, pool: 40, items: 50, maskAll: true})
	out, du, di := p.run(e, 0)
	same(e, "loss", out, []float64{3.5, -2})
	same(e, "dUsers", du, make([]float32, len(du)))
	for i, v := range di {
		if v != 0 {
			e.Fatalf("dItems: element %d is %v, want 0", i, v)
		}
	}
	e.problem(shape{segments: []int{4, 6}, positives: []int{6, 5}, dim: 4, pool: 33, items: 40, maskAll: true}).check(e, 0, 0)
}

// denseAllActionEmpty: no token has a positive, or there is no token.
func denseAllActionEmpty(e *env) {
	for _, s := range []shape{
		{segments: []int{5, 2}, positives: []int{6, 0}, dim: 4, pool: 7, items: 9, noPositive: true},
		{segments: []int{0}, positives: []int{0}, dim: 4, pool: 7, items: 9},
		{segments: nil, positives: nil, dim: 4, pool: 1, items: 1},
	} {
		out, du, di := e.problem(s).run(e, 0)
		same(e, "loss", out, []float64{3.5, -2})
		same(e, "dUsers", du, make([]float32, len(du)))
		same(e, "dItems", di, make([]float32, len(di)))
	}
}

// denseAllActionFrozen: without the items' gradient, the rest is the same bit for bit.
func denseAllActionFrozen(e *env) {
	p := e.problem(shape{segments: []int{40, 0, 7}, positives: []int{60, 2, 9}, dim: 5, pool: 40, items: 70})
	want, wantUsers, _ := p.run(e, 2)
	out, du := buf(e, []float64{3.5, -2}), e.mat(junk(p.users.rows, p.dim), 2)
	e.lane.DenseAllAction(out, du, device.Mat{}, p.args(e, 2))
	same(e, "out", read(e, out), want)
	same(e, "dUsers", e.get(du), wantUsers)
}
