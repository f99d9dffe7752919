package worker

import (
	"context"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

// Gradients computes gradients of shards, one after another, on one lane.
type Gradients interface {
	// Gradient adds the gradient of a shard's loss for the update from step to step+1, summed over its users, to grad. params and
	// grad are flat vectors of the model's size. The result depends on nothing but these arguments. final is told what is complete of it. When ctx ends it gives up
	// soon, long before a large shard would be done, with an error that wraps ctx's.
	Gradient(ctx context.Context, params, grad device.F32, step ringleader.Step, s ringleader.Shard, final model.Final) (ShardResult, error)
	// Close releases its memory; the lane stays open.
	Close()
}

// ShardResult is what one shard contributes to the trailer.
type ShardResult struct {
	model.Result
	Visits int    // users of the shard in this step, with or without a target
	Ledger uint64 // of the users that were really in the batch

	hash          uint64 // of the gradient and of all that is reported, if the engine keeps hashes
	nan, overflow int    // index of the first tensor with an element that cannot be summed; -1 if there is none
}

// lane computes shards one after another and keeps the sum of their gradients. An engine has as many as its device: that
// is all the parallelism inside a step, and it cannot change a bit, because a shard is computed alone and sums are exact.
type lane struct {
	index     int // among the engine's lanes
	ops       device.Lane
	gradients Gradients
	grad      device.F32 // one shard's gradient
	counts    device.I64 // of the present shard, three for each bucket: see device.Update
	added     int        // buckets of the present shard that are in the sum already
	counted   int        // those of them whose counts have been taken over
	refused   int64      // elements of the shard that could not be added, as far as counted
}

func (e *Engine) openLane(cfg *EngineConfig, index int) (*lane, error) {
	l := &lane{index: index}
	var err error
	if l.ops, err = e.dev.NewLane(cfg.Beat); err != nil {
		return nil, err
	}
	n := e.model.Size()
	if l.grad, err = device.Alloc[float32](e.dev, n); err == nil {
		l.counts, err = device.Alloc[int64](e.dev, 3*((n+e.bucket-1)/e.bucket))
	}
	if err == nil {
		l.gradients, err = cfg.Open(l.ops)
	}
	if err != nil {
		l.close(e.dev)
		return nil, err
	}
	return l, nil
}

func (l *lane) close(dev device.Device) {
	if l.gradients != nil {
		l.gradients.Close()
	}
	for _, addr := range []uintptr{l.grad.Addr, l.counts.Addr} {
		if addr != 0 {
			dev.Free(addr)
		}
	}
	// What the lane could still report has been reported by Sync.
	_ = l.ops.Close()
}

// shard adds one shard's gradient for the coming update. last tells whether it is the lane's last one in this pass, as far as is known: once it is, what is
// complete of it is handed on.
func (l *lane) shard(ctx context.Context, e *Engine, s ringleader.Shard, last func() bool) (ShardResult, error) {
	device.Zero(l.ops, l.grad)
	device.Zero(l.ops, l.counts)
	l.added, l.counted, l.refused = 0, 0, 0
	res, err := l.gradients.Gradient(ctx, e.params, l.grad, e.step, s, func(span int) {
		if last() {
			e.sum.add(l, span+1, true)
		}
	})
	if err != nil {
		return res, short(fmt.Errorf("shard %d: %w", s, err), shardSettings)
	}
	if e.hashing {
		res.hash = l.hash(&res)
	}
	res.nan, res.overflow = -1, -1
	if e.sum.add(l, e.sum.all(), false); !e.sum.good(l) {
		l.blame(e, &res)
	}
	return res, l.ops.Sync()
}

// recompute is the hash of a shard's gradient, which is added to nothing.
func (l *lane) recompute(ctx context.Context, e *Engine, s ringleader.Shard) (uint64, error) {
	device.Zero(l.ops, l.grad)
	res, err := l.gradients.Gradient(ctx, e.params, l.grad, e.step, s, nil)
	if err != nil {
		return 0, fmt.Errorf("shard %d: %w", s, err)
	}
	return l.hash(&res), l.ops.Sync()
}

// hash is one of the gradient that the lane has computed, and of what came with it.
func (l *lane) hash(res *ShardResult) uint64 {
	loss := math.Float64bits(res.Loss)
	rest := []uint32{uint32(loss), uint32(loss >> 32), uint32(res.Ledger), uint32(res.Ledger >> 32), uint32(res.Users), uint32(res.Visits), uint32(res.Tokens)}
	return l.ops.Hash(l.grad, 0) + exact.HashWords(rest, uint64(l.grad.N))
}

// blame finds the tensors at fault: on the host, because it happens seldom.
func (l *lane) blame(e *Engine, res *ShardResult) {
	grad := make([]float32, l.grad.N)
	device.Download(l.ops, grad, l.grad)
	res.nan, res.overflow = firstBad(e.model.Tensors(), grad, e.sum.limits())
}
