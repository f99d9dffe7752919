package model

import (
	"math"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// Periods in seconds. Those of absolute times are of people's days; those of the two relative times are evenly spaced in log between a
// second and four weeks.
var absolutePeriods = [12]float64{900, 1800, 2700, 3600, 7200, 14400, 28800, 57600, 86400, 7 * 86400, 28 * 86400, 365 * 86400}

const (
	relativePeriodCount = 32
	relativePeriodMax   = 28 * 86400

	// logTimeScale and logDurationScale bring the logarithms of seconds to the size of the other lanes.
	logTimeScale     = 0.1
	logDurationScale = 0.3
)

func relativePeriods() []float64 {
	p := make([]float64, relativePeriodCount)
	top := logIEEE(relativePeriodMax)
	for i := range p {
		p[i] = expIEEE(float64(top*float64(i)) / (relativePeriodCount - 1))
	}
	return p
}

// inputs are the tokens of some users: on the host first, then on the device.
type inputs struct {
	offset, recency, iota   []int32
	absolute, relative, gap []int64 // milliseconds
	duration                []float32
	item, action, surface   []int32 // alias the batch
	dev                     deviceInputs
	segments                device.Segments
	newest                  []int32 // the newest token of every user that has one
	served                  []int32 // and whose it is
}

type deviceInputs struct {
	offset, recency, iota, item, action, surface device.I32
	absolute, relative, gap                      device.I64
	duration                                     device.F32
}

// read takes users lo..hi-1 of a batch, which has been checked.
func (in *inputs) read(b *dataset.Batch, lo, hi int, f *features) {
	first, end := b.Offset[lo], b.Offset[hi]
	in.item, in.action = b.Item[first:end], b.Action[first:end]
	if f.surface {
		in.surface = b.Surface[first:end]
	}
	in.offset, in.newest, in.served = append(in.offset[:0], 0), in.newest[:0], in.served[:0]
	in.recency, in.iota = in.recency[:0], in.iota[:0]
	in.absolute, in.relative, in.gap = in.absolute[:0], in.relative[:0], in.gap[:0]
	for u := lo; u < hi; u++ {
		in.user(b.TimeMS[b.Offset[u]:b.Offset[u+1]])
		if b.Offset[u+1] > b.Offset[u] {
			in.newest, in.served = append(in.newest, b.Offset[u+1]-first-1), append(in.served, int32(u))
		}
	}
	in.duration = in.duration[:0]
	if f.duration {
		for i, d := range b.Duration[first:end] {
			in.duration = append(in.duration, float32(logDurationScale*logIEEE(1+max(float64(d), 0))))
			in.iota = append(in.iota, int32(i))
		}
	}
}

// user appends what follows from the times of one user's tokens.
func (in *inputs) user(times []int64) {
	n := len(times)
	for i, t := range times {
		in.recency = append(in.recency, int32(n-1-i))
		in.absolute = append(in.absolute, max(t, 0)) // a time before 1970 has no logarithm
		in.relative = append(in.relative, times[n-1]-t)
		in.gap = append(in.gap, t-times[max(i-1, 0)])
	}
	in.offset = append(in.offset, in.offset[len(in.offset)-1]+int32(n))
}

func (in *inputs) take(a *arena) {
	d := &in.dev
	d.offset, d.recency, d.iota = take[int32](a, len(in.offset)), take[int32](a, len(in.recency)), take[int32](a, len(in.iota))
	d.item, d.action, d.surface = take[int32](a, len(in.item)), take[int32](a, len(in.action)), take[int32](a, len(in.surface))
	d.absolute, d.relative, d.gap = take[int64](a, len(in.absolute)), take[int64](a, len(in.relative)), take[int64](a, len(in.gap))
	d.duration = take[float32](a, len(in.duration))
}

func (in *inputs) upload(lane device.Lane) {
	d := &in.dev
	device.Upload(lane, d.offset, in.offset)
	device.Upload(lane, d.recency, in.recency)
	device.Upload(lane, d.iota, in.iota)
	device.Upload(lane, d.item, in.item)
	device.Upload(lane, d.action, in.action)
	device.Upload(lane, d.surface, in.surface)
	device.Upload(lane, d.absolute, in.absolute)
	device.Upload(lane, d.relative, in.relative)
	device.Upload(lane, d.gap, in.gap)
	device.Upload(lane, d.duration, in.duration)
	in.segments = device.Segments{Host: in.offset, Dev: d.offset}
}

// encode writes the token matrix a and returns x0 = drop(input(a) + position).
func (p *pass) encode() device.Mat {
	n, f, c, in, a := &p.m.net, &p.m.features, p.m.columns(), &p.in.dev, p.ws.tokens
	if f.item {
		p.itemVectors(a.Columns(c.item, c.item+p.m.sizes.vector), in.item)
	}
	if f.action {
		p.lane.Gather(a.Columns(c.action, c.action+p.m.sizes.actionDim), n.action.mat(p.params), in.action)
	}
	if f.surface {
		p.lane.Gather(a.Columns(c.surface, c.surface+p.m.sizes.surfaceDim), n.surface.mat(p.params), in.surface)
	}
	if f.duration {
		p.lane.Gather(a.Columns(c.duration, c.duration+1), device.Matrix(in.duration, in.duration.N, 1), in.iota)
	}
	for _, e := range p.encodings() {
		p.lane.EncodeTime(a.Columns(e.column, e.column+2*e.periods.N+1), e.times, e.periods, e.phase.vec(p.params), logTimeScale)
	}
	x := p.ws.x
	p.linear(x, a, n.input)
	if f.position {
		p.lane.GatherAdd(x, n.position.mat(p.params), in.recency)
	}
	return p.drop(x, x, p.dropping(0))
}

// encodeBackward takes the gradient of x0 from ws.dx. The item vectors are frozen: only the columns behind them need one.
func (p *pass) encodeBackward() {
	n, f, c, in := &p.m.net, &p.m.features, p.m.columns(), &p.in.dev
	dx := p.drop(p.ws.dx, p.ws.dx, p.dropping(0))
	if f.position {
		p.lane.ScatterAdd(n.position.mat(p.grad), dx, in.recency)
	}
	p.linearBackward(device.Mat{}, dx, p.ws.tokens, n.input, device.Mat{})
	if !f.action && !f.surface && !f.absolute && !f.relative && !f.gap {
		return
	}
	da := p.ws.dtokens
	p.lane.MatMul(da, 1, dx, false, n.input.weight.mat(p.params).Columns(c.action, c.end), false, 0)
	if f.action {
		p.lane.ScatterAdd(n.action.mat(p.grad), da.Columns(0, p.m.sizes.actionDim), in.action)
	}
	if f.surface {
		p.lane.ScatterAdd(n.surface.mat(p.grad), da.Columns(c.surface-c.action, c.surface-c.action+p.m.sizes.surfaceDim), in.surface)
	}
	for _, e := range p.encodings() {
		at := e.column - c.action
		p.lane.EncodeTimeBackward(e.phase.vec(p.grad), da.Columns(at, at+2*e.periods.N+1), e.times, e.periods, e.phase.vec(p.params))
	}
}

// encoding is one of the times.
type encoding struct {
	column  int
	times   device.I64
	periods device.F64
	phase   ref
}

// encodings are the times that are on.
func (p *pass) encodings() []encoding {
	f, c, n, in := &p.m.features, p.m.columns(), &p.m.net, &p.in.dev
	long, short := p.periodsOf()
	var list []encoding
	if f.absolute {
		list = append(list, encoding{c.absolute, in.absolute, long, n.absolute})
	}
	if f.relative {
		list = append(list, encoding{c.relative, in.relative, short, n.relative})
	}
	if f.gap {
		list = append(list, encoding{c.gap, in.gap, short, n.gap})
	}
	return list
}

// itemVectors writes the vectors of items times sqrt(V): unit rows get unit variance in each lane.
func (p *pass) itemVectors(dst device.Mat, items device.I32) {
	p.lane.Gather(dst, p.vectors, items)
	// dst = 0*(zeros zeros^T) + sqrt(V)*dst: the scaling that a matrix product has.
	zeros := p.ws.zeros
	p.lane.MatMul(dst, 0, device.Matrix(zeros, dst.Rows, 1), false, device.Matrix(zeros, 1, dst.Cols), false, float32(math.Sqrt(float64(p.m.sizes.vector))))
}
