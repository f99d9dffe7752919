package worker

import (
	"fmt"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

// lane computes shards one after another and keeps the sum of their gradients. A worker has as many as its device: that
// is all the parallelism inside a step, and it cannot change a bit, because a shard is computed alone and sums are exact.
type lane struct {
	ops   device.Lane
	run   *model.Runner
	batch dataset.Batch
	grad  device.F32 // one shard's gradient
	sum   device.I64 // exact64: fixed-point sum over the lane's shards
	float device.F32 // float32: plain sum over the lane's shards
	bad   device.I64 // NaN and overflow counts of one conversion
}

func newLane(r *replica, b *beat) (*lane, error) {
	l := &lane{}
	var err error
	if l.ops, err = r.dev.NewLane(b); err != nil {
		return nil, err
	}
	n := r.model.Size()
	if l.grad, err = device.Alloc[float32](r.dev, n); err == nil {
		l.bad, err = device.Alloc[int64](r.dev, 2)
	}
	if err == nil && r.exact() {
		l.sum, err = device.Alloc[int64](r.dev, n)
	} else if err == nil {
		l.float, err = device.Alloc[float32](r.dev, n)
	}
	if err == nil {
		v := r.data.Vectors()
		l.run, err = r.model.NewRunner(r.dev, l.ops, device.Matrix(r.vectors, v.Rows, v.Cols), r.sampler.LogQ())
	}
	if err != nil {
		l.close(r.dev)
		return nil, err
	}
	return l, nil
}

func (l *lane) close(dev device.Device) {
	if l.run != nil {
		l.run.Close()
	}
	for _, addr := range []uintptr{l.grad.Addr, l.sum.Addr, l.float.Addr, l.bad.Addr} {
		if addr != 0 {
			dev.Free(addr)
		}
	}
	// What the lane could still report has been reported by Sync.
	_ = l.ops.Close()
}

// reset clears the sums before a step.
func (l *lane) reset() {
	if l.sum.Addr != 0 {
		device.Zero(l.ops, l.sum)
	} else {
		device.Zero(l.ops, l.float)
	}
}

// shardResult is what one shard contributes to the trailer.
type shardResult struct {
	model.Result
	visits        int    // users of the shard in this step, with or without a target
	ledger        uint64 // of the users that were really in the batch
	nan, overflow int64  // elements that could not be converted
}

// shard adds one shard's gradient for the update from step to step+1.
func (l *lane) shard(r *replica, step ringleader.Step, s ringleader.Shard) (res shardResult, err error) {
	r.sampler.Batch(&l.batch, step, s)
	res.visits, res.ledger = len(l.batch.User), r.sampler.LedgerOf(&l.batch)
	device.Zero(l.ops, l.grad)
	if res.Result, err = l.run.Gradient(r.params, l.grad, &l.batch); err != nil {
		return res, fmt.Errorf("shard %d: %w", s, err)
	}
	if !r.exact() {
		n := l.grad.N
		l.ops.Add(device.Matrix(l.float, 1, n), device.Matrix(l.float, 1, n), device.Matrix(l.grad, 1, n))
		return res, l.ops.Sync()
	}
	device.Zero(l.ops, l.bad)
	l.ops.ToFixed(l.sum, l.grad, exact.Limit(r.what.Shards), l.bad)
	var bad [2]int64
	device.Download(l.ops, bad[:], l.bad)
	res.nan, res.overflow = bad[0], bad[1]
	return res, l.ops.Sync()
}

// exact tells whether the job's sums are exact.
func (r *replica) exact() bool { return r.what.Reduction == job64 }

const job64 = "exact64"
