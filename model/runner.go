package model

import (
	"context"
	"fmt"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// Runner computes with one lane of a device. It is used by one goroutine at a time; runners of other lanes may run beside it and share
// the item vectors. It keeps its memory on the device, and on the host, from call to call.
type Runner struct {
	m       *Model
	lane    device.Lane
	vectors device.Mat // items x V
	logQ    []float32  // by item

	constants device.F64 // periods of absolute times, of relative times; then the two sums of the loss
	arena     arena
	in        inputs
	goal      goal
	ws        workspace
	loss      device.AllAction
	rows      []float32 // embeddings on their way to where they belong
}

// Result is what a shard's users add to the step.
type Result struct {
	Loss   float64 // sum over users
	Users  int     // that have a target: what sums of losses and gradients are divided by in the end
	Tokens int     // of all users of the batch
}

// NewRunner reserves a runner's fixed memory, and sets the lane's precision to the job's. vectors are the item vectors on the device, items x V, rows of about unit length; they
// are read by each call, not now. logQ is the log of each item's expected multiplicity in a pool of negatives, on the host; it may be nil if loss.logq is off or only embeddings are wanted.
func (m *Model) NewRunner(dev device.Device, lane device.Lane, vectors device.Mat, logQ []float32) (*Runner, error) {
	if vectors.Rows != m.sizes.items || vectors.Cols != m.sizes.vector {
		return nil, fmt.Errorf("open runner: item vectors %d x %d, want %d x %d", vectors.Rows, vectors.Cols, m.sizes.items, m.sizes.vector)
	}
	if logQ != nil && len(logQ) != m.sizes.items {
		return nil, fmt.Errorf("open runner: logQ of %d items, want %d", len(logQ), m.sizes.items)
	}
	periods := append(absolutePeriods[:], relativePeriods()...)
	constants, err := device.Alloc[float64](dev, len(periods)+2)
	if err != nil {
		return nil, fmt.Errorf("open runner: %w", err)
	}
	r := &Runner{m: m, lane: lane, vectors: vectors, logQ: logQ, constants: constants, arena: arena{dev: dev}}
	r.ws.blocks = make([]blockSpace, m.sizes.layers)
	if m.what.Precision == precisionBFloat16 {
		lane.SetPrecision(device.BFloat16)
	}
	device.Upload(lane, constants, periods)
	if err := lane.Sync(); err != nil {
		r.Close()
		return nil, fmt.Errorf("open runner: %w", err)
	}
	return r, nil
}

// Close releases the runner's memory. The lane stays open.
func (r *Runner) Close() {
	r.arena.close()
	if r.constants.Addr != 0 {
		r.arena.dev.Free(r.constants.Addr)
	}
	r.constants = device.F64{}
}

func (r *Runner) periodsOf() (absolute, relative device.F64) {
	n := len(absolutePeriods)
	return r.constants.Slice(0, n), r.constants.Slice(n, n+relativePeriodCount)
}

func (r *Runner) sums() device.F64 { return r.constants.Slice(r.constants.N-2, r.constants.N) }

// Gradient adds the gradient of the shard's loss, summed over the users of b, to grad, and returns the loss. params and grad have Size elements. A
// batch in which no user has a target changes nothing. It ends within a part of the network when ctx does: a shard may take seconds. After an error grad is not to be used.
func (r *Runner) Gradient(ctx context.Context, params, grad device.F32, b *dataset.Batch, final Final) (Result, error) {
	if err := r.check(params, b); err != nil {
		return Result{}, fmt.Errorf("compute gradient: %w", err)
	}
	if err := r.checkGoal(b); err != nil {
		return Result{}, fmt.Errorf("compute gradient: %w", err)
	}
	if grad.N != r.m.length {
		return Result{}, fmt.Errorf("compute gradient: gradient of %d elements, want %d", grad.N, r.m.length)
	}
	res := Result{Tokens: len(b.Item)}
	if res.Users = r.goal.aim(b, r.m); res.Users == 0 {
		return res, nil
	}
	if err := r.gradient(ctx, params, grad, b, final, &res); err != nil {
		return Result{}, fmt.Errorf("compute gradient of step %d, shard %d: %w", b.Step, b.Shard, err)
	}
	return res, nil
}

func (r *Runner) gradient(ctx context.Context, params, grad device.F32, b *dataset.Batch, final Final, res *Result) error {
	if err := r.goal.gather(b, r.m.sizes.items, r.logQ, r.m.what.Loss.LogQ); err != nil {
		return err
	}
	if err := r.prepare(b, 0, len(b.User), true); err != nil {
		return err
	}
	p := pass{
		Runner: r, params: params, grad: grad, rate: float32(r.m.what.Model.Dropout),
		step: uint64(b.Step), shard: uint64(b.Shard),
	}
	return p.descend(ctx, final, res)
}

// descend goes forward, through the loss, and back, for as long as ctx lasts. Items that came embedded (see EncodedGradient) have no tower.
func (p *pass) descend(ctx context.Context, final Final, res *Result) error {
	var theta [1]float32
	device.Download(p.lane, theta[:], p.m.net.theta.vec(p.params))
	x := p.blocks(ctx, p.encode(), p.finalNorm())
	during(ctx, func() {
		p.head()
		if p.m.tower() {
			p.itemTower()
		}
	})
	during(ctx, func() {
		device.Zero(p.lane, p.sums())
		tau := max(expIEEE(float64(theta[0])), minTemperature)
		p.loss = p.goal.describe(&p.ws, p.in.segments, float32(1/tau))
		p.lane.DenseAllAction(p.sums(), p.ws.output.y, p.ws.items.y, &p.loss)
	})

	span := 0
	back := func(part func()) {
		during(ctx, func() {
			part()
			final.tell(span)
			span++
		})
	}
	if p.m.tower() {
		back(p.itemTowerBackward)
	}
	back(func() { p.headBackward(x) })
	for i := len(p.ws.blocks) - 1; i >= 0; i-- {
		back(func() { p.blockBackward(i) })
	}
	back(p.encodeBackward)
	back(func() {
		var sums [2]float64
		device.Download(p.lane, sums[:], p.sums())
		res.Loss = sums[0]
		p.addTemperature(float64(theta[0]), sums[1])
	})
	if err := p.lane.Sync(); err != nil {
		return err
	}
	return ctx.Err()
}

// during does a part of a pass, unless ctx has ended: then nobody wants what is left of it.
func during(ctx context.Context, part func()) {
	if ctx.Err() == nil {
		part()
	}
}

// addTemperature adds dL/dtheta. Below the bound the temperature does not depend on theta: nothing then pushes theta further out, but what pulls it back does.
func (p *pass) addTemperature(theta, gradient float64) {
	if expIEEE(theta) < minTemperature && gradient > 0 {
		return
	}
	device.Upload(p.lane, p.ws.scalar, []float32{float32(gradient)})
	to := p.m.net.theta.mat(p.grad)
	p.lane.Add(to, to, device.Matrix(p.ws.scalar, 1, 1))
}

// pass is one way through the network, forward and, with a gradient, back.
type pass struct {
	*Runner
	params, grad device.F32
	rate         float32 // of dropout
	step, shard  uint64
}

// dropping is the dropout at a place of the network, each of which has a stream of its own, where the backward finds it again.
func (p *pass) dropping(place int) device.Dropping {
	if p.rate == 0 {
		return device.Dropping{}
	}
	return device.Dropping{Key: counter.Key(p.m.what.Seed, counter.Dropout, p.step, p.shard, uint64(place)), Rate: p.rate}
}

// drop is x with dropout, in y, or x itself if there is none.
func (p *pass) drop(y, x device.Mat, d device.Dropping) device.Mat {
	if d.Rate == 0 {
		return x
	}
	p.lane.Dropout(y, x, d)
	return y
}

func (p *pass) linear(y, x device.Mat, l linear) {
	p.lane.Linear(y, x, l.weight.mat(p.params), l.bias.vec(p.params))
}

func (p *pass) linearGELU(y, slope, x device.Mat, l linear, d device.Dropping) {
	p.lane.LinearGELU(y, slope, x, l.weight.mat(p.params), l.bias.vec(p.params), d)
}

func (p *pass) linearAdd(y, residual, x device.Mat, l linear, d device.Dropping, after device.Norm) {
	p.lane.LinearAdd(y, residual, x, l.weight.mat(p.params), l.bias.vec(p.params), d, after)
}

// linearBackward writes the gradient of x, times slope unless that is the zero Mat, to dx, unless that is, and adds those of the parameters.
func (p *pass) linearBackward(dx, dy, x device.Mat, l linear, slope device.Mat) {
	p.lane.LinearBackward(dx, l.weight.mat(p.grad), l.bias.vec(p.grad), dy, x, l.weight.mat(p.params), slope)
}
