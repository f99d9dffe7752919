package model

import (
	"context"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// The whole of a step on real batches: on synthetic tastes, the loss falls well below what scoring at random gives.
func TestTraining(t *testing.T) {
	dir := t.TempDir()
	meta, err := synth.Write(dir, synth.Options{Users: 120, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	w := preset(t, "tiny")
	w.Shards, w.UsersPerShard, w.Steps, w.Seed, w.Model.Init, w.Optimizer.LR = 2, 8, 60, 1, initNormal, 5e-3
	source, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := dataset.Open(context.Background(), source, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	sampler, err := dataset.NewSampler(data, w)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(w, meta)
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{m: m, vectors: data.Vectors().Data, logQ: sampler.LogQ(), params: make([]float32, m.Size())}
	if err := m.Init(s.params); err != nil {
		t.Fatal(err)
	}
	s.open(t)
	losses := s.train(t, sampler, w.Shards, w.Steps)
	first, last := mean(losses[:5]), mean(losses[len(losses)-5:])
	t.Logf("loss %.3f at first, %.3f at last", first, last)
	if !(last < .9*first) {
		t.Errorf("loss %v at first, %v at last: want it to fall", first, last)
	}
}

// train runs steps as a worker does: exact sums over shards, one division, one update.
func (s *setup) train(t *testing.T, sampler *dataset.Sampler, shards int, steps int64) (losses []float64) {
	t.Helper()
	n := s.m.Size()
	st := s.state(t)
	grad := s.upload(t, "grad", make([]float32, n))
	sum, err := device.Alloc[int64](s.dev, n+3)
	if err != nil {
		t.Fatal(err)
	}
	defer s.dev.Free(sum.Addr)
	var b dataset.Batch
	for k := range steps {
		device.Zero(s.lane, sum)
		loss, users := 0.0, 0
		for shard := range shards {
			sampler.Batch(&b, ringleader.Step(k), ringleader.Shard(shard))
			device.Zero(s.lane, grad)
			res, err := s.run.Gradient(t.Context(), st.Params, grad, &b, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.lane.ToFixed(sum.Slice(0, n), grad, exact.Limit(shards), sum.Slice(n, n+3))
			loss, users = loss+res.Loss, users+res.Users
		}
		s.lane.FromFixed(grad, sum.Slice(0, n), float64(users))
		if _, err := s.m.Update(device.OneLane(s.lane), &st, grad, k, steps); err != nil {
			t.Fatal(err)
		}
		losses = append(losses, loss/float64(users))
	}
	if err := s.lane.Sync(); err != nil {
		t.Fatal(err)
	}
	return losses
}

func mean(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}
