package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/timed"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
	"github.com/ringleader-dev/ringleader/worker"
)

// The workload "peer" is the part of a step that every implementation of a transformer has in common, in sizes of its own:
// scripts/bench/step.py is the same in PyTorch. Tokens come encoded, the negatives are shared by all users and take no gradient, and each
// token has one positive.
const (
	presetPeer    = "peer"
	peerUsers     = 16
	peerTokens    = 255 // of every user
	peerWidth     = 300 // of an encoded token
	peerNegatives = 4096
)

func peerWhat() (job.What, error) {
	spec, err := job.Default("small")
	w := spec.What
	w.Model.Layers, w.Model.Width, w.Model.Heads, w.Model.FFN, w.Model.Dim, w.Model.Window = 4, 256, 8, 1024, 256, peerTokens
	w.Model.Dropout, w.Model.Temperature, w.Model.Init = 0, .07, "normal"
	w.Negatives = job.Negatives{Random: peerNegatives}
	w.Optimizer = job.Optimizer{Name: "adam", LR: 1e-3, Beta1: .9, Beta2: .999, Eps: 1e-8, Schedule: "constant"}
	return w, err
}

// peerData are the inputs, which all shards share.
type peerData struct {
	tokens, items device.F32 // all users' tokens; the negatives, then a positive for each token
	users         int
}

func openPeer(dev *timed.Device, what job.What, users int) (_ *workload, closeAll func(), err error) {
	if what.Shards > users {
		return nil, nil, fmt.Errorf("--shards %d: %d users cannot be cut into more shards than users", what.Shards, users)
	}
	m, err := model.NewEncoded(what, peerWidth)
	if err != nil {
		return nil, nil, err
	}
	data, err := newPeerData(dev, users, what.Model.Dim)
	if err != nil {
		return nil, nil, err
	}
	engine, err := worker.OpenEngine(worker.EngineConfig{
		What: what, Model: m, Steps: math.MaxInt32, Device: dev,
		Open: func(ops device.Lane) (worker.Gradients, error) {
			run, err := m.NewRunner(dev, ops, device.Mat{}, nil)
			if err != nil {
				return nil, err
			}
			return &peerGradients{Runner: run, data: data, shards: what.Shards}, nil
		},
	})
	if err != nil {
		data.free(dev)
		return nil, nil, err
	}
	w := &workload{name: presetPeer, what: what, engine: engine, model: m, dev: dev, load: func(ringleader.Step) stepLoad {
		return stepLoad{users: users, tokens: users * peerTokens, squares: users * peerTokens * peerTokens}
	}}
	return w, func() { engine.Close(); data.free(dev) }, nil
}

func newPeerData(dev device.Device, users, dim int) (*peerData, error) {
	d := &peerData{users: users}
	tokens := users * peerTokens
	var err error
	if d.tokens, err = device.Alloc[float32](dev, tokens*peerWidth); err == nil {
		d.items, err = device.Alloc[float32](dev, (peerNegatives+tokens)*dim)
	}
	if err != nil {
		d.free(dev)
		return nil, err
	}
	lane, err := dev.NewLane(nil)
	if err != nil {
		d.free(dev)
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	device.Upload(lane, d.tokens, normals(rng, d.tokens.N))
	items := device.Matrix(d.items, peerNegatives+tokens, dim)
	device.Upload(lane, d.items, normals(rng, d.items.N))
	norms, err := device.Alloc[float32](dev, items.Rows)
	if err == nil {
		lane.L2Norm(items, norms, items)
		err = lane.Sync()
		dev.Free(norms.Addr)
	}
	_ = lane.Close() // Sync has said what it had to say
	if err != nil {
		d.free(dev)
		return nil, err
	}
	return d, nil
}

func (d *peerData) free(dev device.Device) {
	for _, b := range []device.F32{d.tokens, d.items} {
		if b.Addr != 0 {
			dev.Free(b.Addr)
		}
	}
}

// peerGradients are a lane's: the same users in every step.
type peerGradients struct {
	*model.Runner
	data   *peerData
	shards int
}

// Gradient implements worker.Gradients.
func (g *peerGradients) Gradient(ctx context.Context, params, grad device.F32, step ringleader.Step, s ringleader.Shard, final model.Final) (res worker.ShardResult, err error) {
	first, end := int(s)*g.data.users/g.shards, (int(s)+1)*g.data.users/g.shards
	b := model.EncodedShard{Step: uint64(step), Shard: uint64(s), Pool: peerNegatives}
	for range end - first {
		b.Lengths = append(b.Lengths, peerTokens)
	}
	lo, hi := first*peerTokens, end*peerTokens
	b.Tokens = device.Matrix(g.data.tokens, g.data.users*peerTokens, peerWidth).RowRange(lo, hi)
	b.Items = device.Matrix(g.data.items, peerNegatives+g.data.users*peerTokens, g.data.items.N/(peerNegatives+g.data.users*peerTokens))
	for t := lo; t < hi; t++ {
		b.Positive = append(b.Positive, int32(peerNegatives+t))
	}
	res.Visits = end - first
	res.Result, err = g.EncodedGradient(ctx, params, grad, &b, final)
	return res, err
}
