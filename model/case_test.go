package model

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
)

// tinyWhat is a network small enough for finite differences of every parameter.
func tinyWhat() job.What {
	return job.What{
		Seed: 7, Precision: "float32",
		Model: job.Model{
			Layers: 2, Width: 8, Heads: 2, FFN: 16, Dim: 6, Window: 6, ActionDim: 3, SurfaceDim: 2, ItemHidden: 7,
			Temperature: .2, Init: initNormal,
		},
		Loss:      job.Loss{Objective: objectiveExact, Weights: weightsSeed, NewestWeight: newestOne, HorizonDays: 28, LogQ: logQOn},
		Negatives: job.Negatives{InBatch: 5, Random: 7},
		Optimizer: job.Optimizer{Name: optimizerAdamW, LR: 1e-2, Beta1: .9, Beta2: .98, Eps: 1e-8, WeightDecay: .01, Schedule: scheduleCosine, Warmup: .05, Clip: 1},
	}
}

func tinyMeta() dataset.Meta {
	return dataset.Meta{
		Users: 100, Items: 20, VectorDim: 5, Types: []string{"buy", "hide", "view"}, Positive: []bool{true, false, true},
		Surfaces: []string{"home", "search"}, Durations: true,
		FirstMS: 1_600_000_000_000, LastMS: 1_800_000_000_000, CutMS: 1_790_000_000_000,
	}
}

// setup is a model on a device, with the data that a gradient needs.
type setup struct {
	m       *Model
	dev     device.Device
	lane    device.Lane
	vectors []float32 // items x V
	logQ    []float32
	run     *Runner
	params  []float32
	dev32   map[string]device.F32
	beat    atomic.Uint64 // operators that the lane has run
}

func newSetup(t testing.TB, w job.What, meta dataset.Meta) *setup {
	t.Helper()
	m, err := New(w, meta)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	s := &setup{m: m, vectors: unitRows(rng, meta.Items, meta.VectorDim), params: lively(m, rng)}
	for range meta.Items {
		s.logQ = append(s.logQ, float32(rng.NormFloat64()-1))
	}
	s.open(t)
	return s
}

func (s *setup) open(t testing.TB) {
	t.Helper()
	dev := openDevice(t)
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	lane, err := dev.NewLane(&s.beat)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lane.Close(); err != nil {
			t.Error(err)
		}
	})
	s.dev, s.lane, s.dev32 = dev, lane, map[string]device.F32{}
	v := s.upload(t, "vectors", s.vectors)
	s.run, err = s.m.NewRunner(dev, lane, device.Matrix(v, s.m.sizes.items, s.m.sizes.vector), s.logQ)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.run.Close)
}

// upload puts x into the device buffer of that name.
func (s *setup) upload(t testing.TB, name string, x []float32) device.F32 {
	t.Helper()
	if s.dev32[name].N != len(x) {
		b, err := device.Alloc[float32](s.dev, len(x))
		if err != nil {
			t.Fatal(err)
		}
		s.dev32[name] = b
		t.Cleanup(func() { s.dev.Free(b.Addr) })
	}
	device.Upload(s.lane, s.dev32[name], x)
	return s.dev32[name]
}

// state is one at step 0.
func (s *setup) state(t testing.TB) State {
	t.Helper()
	n := s.m.Size()
	hashes, err := device.Alloc[uint64](s.dev, s.m.HashSums())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.dev.Free(hashes.Addr) })
	return State{
		Params: s.upload(t, "params", s.params), Moment1: s.upload(t, "m", make([]float32, n)), Moment2: s.upload(t, "v", make([]float32, n)),
		Beta1Power: 1, Beta2Power: 1, Hashes: hashes,
	}
}

func (s *setup) download(t testing.TB, b device.F32) []float32 {
	t.Helper()
	x := make([]float32, b.N)
	device.Download(s.lane, x, b)
	if err := s.lane.Sync(); err != nil {
		t.Fatal(err)
	}
	return x
}

// rows are the elements of a matrix, without what pads its rows.
func (s *setup) rows(t testing.TB, m device.Mat) []float32 {
	t.Helper()
	var x []float32
	for r := range m.Rows {
		x = append(x, s.download(t, m.RowRange(r, r+1).Data.Slice(0, m.Cols))...)
	}
	return x
}

// gradient is the gradient of a batch from a zeroed buffer.
func (s *setup) gradient(t testing.TB, b *dataset.Batch) ([]float32, Result) {
	t.Helper()
	params, grad := s.upload(t, "params", s.params), s.upload(t, "grad", make([]float32, s.m.Size()))
	res, err := s.run.Gradient(t.Context(), params, grad, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.download(t, grad), res
}

// embeddings are the units at all tokens of a batch.
func (s *setup) embeddings(t testing.TB, b *dataset.Batch) []float32 {
	t.Helper()
	s.gradient(t, b)
	return s.rows(t, s.run.ws.output.unit)
}

func (s *setup) users(t testing.TB, b *dataset.Batch) []float32 {
	t.Helper()
	out := make([]float32, len(b.User)*s.m.Dim())
	if err := s.run.Users(s.upload(t, "params", s.params), b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func unitRows(rng *rand.Rand, rows, cols int) []float32 {
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for r := range rows {
		normalise(x[r*cols : (r+1)*cols])
	}
	return x
}

// lively are parameters at which every gradient is far from zero, unlike at the start of training.
func lively(m *Model, rng *rand.Rand) []float32 {
	p := make([]float32, m.Size())
	for _, t := range m.tensors {
		for i := range t.Len() {
			x := .3 * rng.NormFloat64()
			if t.fill == 1 {
				x++
			}
			if t.Name == "log_temperature" {
				x = t.fill
			}
			p[t.Offset+i] = float32(x)
		}
	}
	return p
}

const hourMS = 3600 * 1000

// randomBatch makes a shard of users with so many tokens each: with ties, empty horizons, repeated items, tokens that are positives themselves.
func randomBatch(rng *rand.Rand, m *Model, lengths ...int) *dataset.Batch {
	b := &dataset.Batch{Step: 3, Shard: 5, Offset: []int32{0}, PosOffset: []int32{0}, OwnOffset: []int32{0}}
	s := &m.sizes
	for u, n := range lengths {
		b.User = append(b.User, int32(u))
		now := int64(1_700_000_000_000) + rng.Int64N(1000*hourMS)
		var later []int64 // times of positives
		for range n {
			if rng.IntN(3) > 0 { // else a tie
				now += rng.Int64N(20 * 24 * hourMS)
			}
			b.TimeMS = append(b.TimeMS, now)
			b.Item = append(b.Item, int32(rng.IntN(s.items)))
			b.Action = append(b.Action, int32(rng.IntN(s.actions)))
			b.Surface = append(b.Surface, int32(rng.IntN(max(s.surfaces, 1))))
			b.Duration = append(b.Duration, float32(rng.IntN(50)))
			switch rng.IntN(4) {
			case 0:
				later = append(later, now)
			case 1:
				later = append(later, now, now, now+m.horizon) // the end of the horizon belongs to it
			case 2:
				later = append(later, now+1, now+m.horizon+1)
			}
		}
		b.Offset = append(b.Offset, int32(len(b.Item)))
		slices.Sort(later)
		for _, t := range later {
			b.PosTimeMS = append(b.PosTimeMS, t)
			b.PosItem = append(b.PosItem, int32(rng.IntN(s.items)))
		}
		b.PosOffset = append(b.PosOffset, int32(len(b.PosItem)))
		own := slices.Clone(b.PosItem[b.PosOffset[u]:])
		own = append(own, int32(rng.IntN(s.items)))
		slices.Sort(own)
		b.OwnItem = append(b.OwnItem, slices.Compact(own)...)
		b.OwnOffset = append(b.OwnOffset, int32(len(b.OwnItem)))
	}
	for range m.what.Negatives.InBatch {
		if len(b.PosItem) > 0 {
			b.Negative = append(b.Negative, b.PosItem[rng.IntN(len(b.PosItem))])
		}
	}
	for range m.what.Negatives.Random {
		b.Negative = append(b.Negative, int32(rng.IntN(s.items)))
	}
	return b
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 99)) }

// lossCases are all objectives with the switches that change them.
func lossCases() []job.Loss {
	var all []job.Loss
	for _, logQ := range []string{logQOn, logQOff, logQCorrected} {
		base := job.Loss{Weights: weightsSeed, NewestWeight: newestOne, HorizonDays: 28, LogQ: logQ}
		for _, weights := range []string{weightsSeed, weightsPairs} {
			for _, newest := range []string{newestOne, newestEqual} {
				l := base
				l.Objective, l.Weights, l.NewestWeight = objectiveExact, weights, newest
				all = append(all, l)
			}
		}
		for _, newest := range []string{newestOne, newestEqual} {
			l := base
			l.Objective, l.NewestWeight = objectiveSASRec, newest
			all = append(all, l)
		}
		for _, objective := range []string{objectiveNext, objectiveAllAction, objectiveDense} {
			l := base
			l.Objective = objective
			if objective == objectiveDense {
				l.Positions = 2
			}
			all = append(all, l)
		}
	}
	return all
}
