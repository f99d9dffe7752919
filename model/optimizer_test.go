package model

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
)

func TestSchedule(t *testing.T) {
	o := job.Optimizer{LR: 2, Warmup: .1, Schedule: scheduleCosine}
	for _, c := range []struct {
		step     int64
		schedule string
		want     float64
	}{
		{0, scheduleCosine, .2}, {4, scheduleCosine, 1}, {9, scheduleCosine, 2}, {10, scheduleCosine, 2}, {55, scheduleCosine, 1},
		{40, scheduleCosine, 1.5}, {70, scheduleCosine, .5}, {99, scheduleCosine, 1 + math.Cos(math.Pi*89/90)}, {100, scheduleCosine, 0}, {120, scheduleCosine, 0},
		{0, scheduleConstant, .2}, {9, scheduleConstant, 2}, {10, scheduleConstant, 2}, {99, scheduleConstant, 2}, {1000, scheduleConstant, 2},
	} {
		o.Schedule = c.schedule
		if got := Schedule(o, c.step, 100); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s, step %d: %v, want %v", c.schedule, c.step, got, c.want)
		}
	}
	o = job.Optimizer{LR: 2, Schedule: scheduleCosine}
	if got := Schedule(o, 0, 1); got != 2 {
		t.Errorf("only step, no warm-up: %v, want 2", got)
	}
	o.Warmup = 1
	if got := Schedule(o, 9, 10); got != 2 {
		t.Errorf("last step of a warm-up that lasts: %v, want 2", got)
	}
}

func TestUpdate(t *testing.T) {
	for _, c := range []struct {
		name        string
		decay, clip float64
	}{{optimizerAdamW, .1, 1}, {optimizerAdamW, .1, 0}, {optimizerAdam, 0, 1}} {
		t.Run(fmt.Sprintf("%s, decay %g, clip %g", c.name, c.decay, c.clip), func(t *testing.T) { checkUpdate(t, c.name, c.decay, c.clip) })
	}
}

// checkUpdate compares several updates with AdamW in float64, with decay on matrices alone and clipping at work in some steps.
func checkUpdate(t *testing.T, name string, rate, clip float64) {
	w := tinyWhat()
	w.Optimizer.Name, w.Optimizer.WeightDecay, w.Optimizer.Clip = name, rate, clip
	s := newSetup(t, w, tinyMeta())
	n := s.m.Size()
	st := s.state(t)
	p, m1, m2 := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range p {
		p[i] = float64(s.params[i])
	}
	decay := make([]float64, n)
	for _, x := range s.m.Tensors() {
		if strings.HasSuffix(x.Name, ".weight") && !strings.HasPrefix(x.Name, "embeddings") && !strings.HasPrefix(x.Name, "position") && !strings.Contains(x.Name, "norm") {
			for i := range x.Len() {
				decay[x.Offset+i] = rate
			}
		}
	}
	rng := random(5)
	const steps = 6
	for k := range int64(steps) {
		size := []float64{.001, 1}[k%2] // below and above the norm at which gradients are clipped
		g := make([]float32, n)
		var square float64
		for i := range g {
			g[i] = float32(size * rng.NormFloat64())
			square += float64(g[i]) * float64(g[i])
		}
		norm, err := s.m.Update(device.OneLane(s.lane), &st, s.upload(t, "grad", g), k, steps)
		if err != nil || math.Abs(norm-math.Sqrt(square)) > 1e-12*norm {
			t.Fatalf("norm %v, %v; want %v", norm, err, math.Sqrt(square))
		}
		c := 1.0
		if clip > 0 {
			c = min(1, clip/norm)
		}
		lr := Schedule(w.Optimizer, k, steps)
		b1, b2 := math.Pow(.9, float64(k+1)), math.Pow(.98, float64(k+1))
		for i := range p {
			x := float64(g[i]) * c
			m1[i], m2[i] = .9*m1[i]+.1*x, .98*m2[i]+.02*x*x
			p[i] -= lr * (m1[i]/(1-b1)/(math.Sqrt(m2[i]/(1-b2))+1e-8) + decay[i]*p[i])
		}
		if math.Abs(st.Beta1Power-b1) > 1e-15 || math.Abs(st.Beta2Power-b2) > 1e-15 {
			t.Fatalf("powers %v, %v; want %v, %v", st.Beta1Power, st.Beta2Power, b1, b2)
		}
	}
	for i, got := range s.download(t, st.Params) {
		if math.Abs(float64(got)-p[i]) > 1e-6*(1+math.Abs(p[i])) {
			t.Fatalf("element %d: %v, want %v", i, got, p[i])
		}
	}
}

// A gradient that is no number leaves the state as it is.
func TestUpdateRefuses(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	n := s.m.Size()
	st := s.state(t)
	before := st
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		g := make([]float32, n)
		g[n/2] = float32(bad)
		if _, err := s.m.Update(device.OneLane(s.lane), &st, s.upload(t, "grad", g), 0, 10); err == nil {
			t.Errorf("gradient with %v: no error", bad)
		}
	}
	if _, err := s.m.Update(device.OneLane(s.lane), &st, device.F32{}, 0, 10); err == nil {
		t.Error("no gradient: no error")
	}
	if st != before {
		t.Errorf("state %+v, was %+v", st, before)
	}
	if !slices.Equal(s.download(t, st.Params), s.params) {
		t.Error("parameters changed")
	}
}

// However an update is spread over pieces, in whatever order, its bits are the same; and norm and hashes of pieces add up to those of the whole.
func TestUpdateSpread(t *testing.T) {
	meta := tinyMeta()
	meta.VectorDim, meta.Items = 32, 300
	w := preset(t, "small")
	s := newSetup(t, w, meta)
	n := s.m.Size()
	if n < 3*device.Piece {
		t.Fatalf("%d parameters are no more than three pieces", n)
	}
	g := make([]float32, n)
	for i, rng := 0, random(8); i < n; i++ {
		g[i] = float32(rng.NormFloat64())
	}
	backwards := func(n int, do func(l device.Lane, lo, hi int)) {
		for lo := (n - 1) / device.Piece * device.Piece; lo >= 0; lo -= device.Piece {
			do(s.lane, lo, min(lo+device.Piece, n))
		}
	}
	var ends [2][]float32
	for k, spread := range []device.Spread{device.OneLane(s.lane), backwards} {
		st := s.state(t)
		norm, err := s.m.Update(spread, &st, s.upload(t, "grad", g), 5, 100)
		if err != nil {
			t.Fatal(err)
		}
		if want := math.Sqrt(exact.SquaredNorm(g)); norm != want {
			t.Errorf("norm %v, want %v", norm, want)
		}
		ends[k] = s.download(t, st.Params)
		m, v := s.download(t, st.Moment1), s.download(t, st.Moment2)
		hash := func(i int, x []float32) uint64 { return exact.HashFloats(x, uint64(i*n)) }
		want := [2]uint64{hash(0, ends[k]), hash(1, m) + hash(2, v)}
		sums, got := make([]uint64, st.Hashes.N), [2]uint64{}
		device.Download(s.lane, sums, st.Hashes)
		for i, x := range sums {
			got[i%2] += x
		}
		if got != want {
			t.Errorf("hashes %x, want %x", got, want)
		}
	}
	if !slices.Equal(ends[0], ends[1]) {
		t.Error("the parameters depend on the order of pieces")
	}
}
