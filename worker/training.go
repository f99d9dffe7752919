package worker

import (
	"context"
	"fmt"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// Training is the engine of a job on its data set.
type Training struct {
	*Engine
	data    *dataset.Dataset // not closed with it
	sampler *dataset.Sampler
	vectors device.F32
}

// OpenTraining builds the job's model, finds its users, and reserves its memory. There is no state yet. beat may be nil.
func OpenTraining(what job.What, data *dataset.Dataset, dev device.Device, beat *beat) (_ *Training, err error) {
	t := &Training{data: data}
	if t.sampler, err = dataset.NewSampler(data, what); err != nil {
		return nil, &jobError{fmt.Errorf("sample users: %w", err)}
	}
	m, err := model.New(what, data.Meta())
	if err != nil {
		return nil, &jobError{fmt.Errorf("build model: %w", err)}
	}
	v := data.Vectors()
	if t.vectors, err = device.Alloc[float32](dev, v.Rows*v.Cols); err != nil {
		return nil, short(fmt.Errorf("reserve %d item vectors: %w", v.Rows, err), stateSettings)
	}
	items := device.Matrix(t.vectors, v.Rows, v.Cols)
	t.Engine, err = OpenEngine(EngineConfig{
		What: what, Model: m, Steps: t.sampler.Steps(), Device: dev, Beat: beat,
		Open: func(ops device.Lane) (Gradients, error) {
			run, err := m.NewRunner(dev, ops, items, t.sampler.LogQ())
			if err != nil {
				return nil, err
			}
			return &batches{sampler: t.sampler, run: run}, nil
		},
	})
	if err != nil {
		dev.Free(t.vectors.Addr)
		return nil, short(err, stateSettings)
	}
	ops := t.lanes[0].ops
	device.Upload(ops, t.vectors, v.Data)
	if err := ops.Sync(); err != nil {
		t.Close()
		return nil, fmt.Errorf("take item vectors to %s: %w", dev.Name(), err)
	}
	return t, nil
}

// Sampler is what the lanes draw their batches from.
func (t *Training) Sampler() *dataset.Sampler { return t.sampler }

// Close releases the engine and the item vectors.
func (t *Training) Close() {
	t.Engine.Close()
	if t.vectors.Addr != 0 {
		t.dev.Free(t.vectors.Addr)
	}
	t.vectors = device.F32{}
}

// batches are a lane's gradients of what the sampler draws.
type batches struct {
	sampler *dataset.Sampler
	run     *model.Runner
	batch   dataset.Batch
}

// Gradient implements Gradients.
func (b *batches) Gradient(ctx context.Context, params, grad device.F32, step ringleader.Step, s ringleader.Shard, final model.Final) (res ShardResult, err error) {
	b.sampler.Batch(&b.batch, step, s)
	res.Visits, res.Ledger = len(b.batch.User), b.sampler.LedgerOf(&b.batch)
	res.Result, err = b.run.Gradient(ctx, params, grad, &b.batch, final)
	return res, err
}

// Close implements Gradients.
func (b *batches) Close() { b.run.Close() }
