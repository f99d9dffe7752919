package model

import (
	"math"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
)

// tolerance is that of a tensor's gradient in float32, relative to its size.
const tolerance = 1e-5

// A probe is the reference's derivative of the loss along a direction in one tensor.
type probe struct {
	tensor    Tensor
	direction []float64
	slope     float64
}

// probes are some random directions in every tensor.
func probes(r *reference, b *dataset.Batch) []probe {
	var list []probe
	for i, t := range r.m.Tensors() {
		rng := random(uint64(i))
		for range 3 {
			d := make([]float64, t.Len())
			for k := range d {
				d[k] = rng.NormFloat64()
			}
			list = append(list, probe{t, d, r.slope(b, t.Name, d)})
		}
	}
	return list
}

// compare lists the tensors whose gradient is not the reference's: each tensor has one probe at least that tells.
func compare(grad []float32, probes []probe) []string {
	var wrong []string
	for _, p := range probes {
		part := grad[p.tensor.Offset : p.tensor.Offset+p.tensor.Len()]
		var along, square float64
		for i, g := range part {
			along += float64(g) * p.direction[i]
			square += float64(g) * float64(g)
		}
		if size := math.Sqrt(square); !(math.Abs(along-p.slope) <= tolerance*size) && !slices.Contains(wrong, p.tensor.Name) {
			wrong = append(wrong, p.tensor.Name)
		}
	}
	return wrong
}

func TestGradient(t *testing.T) {
	for name, change := range map[string]func(*job.What, *dataset.Meta){
		"seed":      func(*job.What, *dataset.Meta) {},
		"pairs":     func(w *job.What, _ *dataset.Meta) { w.Loss.Weights = weightsPairs },
		"newest":    func(w *job.What, _ *dataset.Meta) { w.Loss.NewestWeight = newestEqual },
		"dense":     func(w *job.What, _ *dataset.Meta) { w.Loss.Objective, w.Loss.Positions = objectiveDense, 3 },
		"dropout":   func(w *job.What, _ *dataset.Meta) { w.Model.Dropout = .25 },
		"logq off":  func(w *job.What, _ *dataset.Meta) { w.Loss.LogQ = logQOff },
		"corrected": func(w *job.What, _ *dataset.Meta) { w.Loss.LogQ = logQCorrected },
		"plain data": func(_ *job.What, m *dataset.Meta) {
			m.Surfaces, m.Durations = nil, false
		},
		"no times": func(w *job.What, _ *dataset.Meta) {
			w.Model.Drop = job.Drop{Absolute: true, Relative: true, Gap: true, Position: true}
		},
		"items only": func(w *job.What, _ *dataset.Meta) {
			w.Model.Drop = job.Drop{Action: true, Surface: true, Duration: true, Absolute: true, Relative: true, Gap: true}
		},
		"no items": func(w *job.What, _ *dataset.Meta) { w.Model.Drop = job.Drop{Item: true} },
	} {
		t.Run(name, func(t *testing.T) {
			w, meta := tinyWhat(), tinyMeta()
			change(&w, &meta)
			s := newSetup(t, w, meta)
			b := randomBatch(random(4), s.m, 5, 1, 6)
			r := s.reference()
			want := probes(r, b)
			grad, res := s.gradient(t, b)
			if loss, users := r.loss(b); math.Abs(res.Loss-loss) > 1e-5*loss || res.Users != users || res.Tokens != 12 {
				t.Errorf("loss %v, %d users, %d tokens; want %v, %d, 12", res.Loss, res.Users, res.Tokens, loss, users)
			}
			if wrong := compare(grad, want); wrong != nil {
				t.Errorf("gradients of %q are wrong", wrong)
			}
			// The comparison sees a gradient that is a thousandth too large.
			scale(grad, 1.001)
			if wrong := compare(grad, want); len(wrong) != len(s.m.Tensors()) {
				t.Errorf("of gradients times 1.001 only %q were found wrong", wrong)
			}
		})
	}
}

// Element by element, with everything on.
func TestGradientElements(t *testing.T) {
	w := tinyWhat()
	w.Model.Dropout = .1
	s := newSetup(t, w, tinyMeta())
	b := randomBatch(random(6), s.m, 4, 2)
	r := s.reference()
	grad, _ := s.gradient(t, b)
	for _, x := range s.m.Tensors() {
		var worst, most float64
		for i := 0; i < x.Len(); i += 1 + x.Len()/16 {
			direction := make([]float64, x.Len())
			direction[i] = 1
			want := r.slope(b, x.Name, direction)
			worst = max(worst, math.Abs(float64(grad[x.Offset+i])-want))
			most = max(most, math.Abs(want))
		}
		if !(worst <= tolerance*most) {
			t.Errorf("%s: off by %.3g, largest %.3g", x.Name, worst, most)
		}
	}
}

// The gradient is added to what is there, and a second call gives the same bits.
func TestGradientAccumulates(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	b := randomBatch(random(4), s.m, 5, 1, 6)
	once, _ := s.gradient(t, b)
	again, _ := s.gradient(t, b)
	mustEqual(t, "second run", again, once)
	twice := s.dev32["grad"]
	if _, err := s.run.Gradient(t.Context(), s.dev32["params"], twice, b, nil); err != nil {
		t.Fatal(err)
	}
	for i, x := range s.download(t, twice) {
		if math.Abs(float64(x-2*once[i])) > 1e-5*(1e-3+math.Abs(float64(x))) {
			t.Fatalf("element %d: %v after two calls, %v after one", i, x, once[i])
		}
	}
}

// dL/dlog tau is -sum <u, dL/du> and -sum <v, dL/dv>: scores are u.v/tau.
func TestTemperatureIdentity(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	grad, _ := s.gradient(t, randomBatch(random(4), s.m, 5, 1, 6))
	got := float64(s.m.net.theta.host(grad)[0])
	r := s.run
	device.Zero(s.lane, r.sums())
	s.lane.DenseAllAction(r.sums(), r.ws.output.y, r.ws.items.y, &r.loss)
	for name, side := range map[string]*towerSpace{"users": &r.ws.output, "items": &r.ws.items} {
		unit, d := s.rows(t, side.unit), s.rows(t, side.y)
		var sum float64
		for i := range unit {
			sum -= float64(unit[i]) * float64(d[i])
		}
		if math.Abs(sum-got) > 1e-5*math.Abs(got) {
			t.Errorf("%s: sum %v, gradient %v", name, sum, got)
		}
	}
}

// Below the bound the temperature is constant; its logarithm is only pulled back, never pushed further out.
func TestTemperatureBound(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	theta := &s.m.net.theta.host(s.params)[0]
	for i := range s.logQ {
		s.logQ[i] *= 50 // so that at so low a temperature losses are not flat
	}
	inward, outward := 0, 0
	for seed := range uint64(40) {
		b := randomBatch(random(seed), s.m, 4, 3)
		*theta = float32(math.Log(.01)) + 1e-3
		grad, at := s.gradient(t, b)
		free := s.m.net.theta.host(grad)[0]
		*theta = -6
		grad, below := s.gradient(t, b)
		bound := s.m.net.theta.host(grad)[0]
		if math.Abs(at.Loss-below.Loss) > .01*math.Abs(at.Loss) {
			t.Fatalf("loss %v at the bound, %v below", at.Loss, below.Loss)
		}
		switch {
		case free > 1e-2:
			if outward++; bound != 0 {
				t.Errorf("gradient %v pushes out of the bound (%v at it)", bound, free)
			}
		case free < -1e-2:
			if inward++; math.Abs(float64(bound-free)) > .1*math.Abs(float64(free)) {
				t.Errorf("gradient %v, want about %v back into the bound", bound, free)
			}
		}
	}
	if inward == 0 || outward == 0 {
		t.Errorf("%d cases inward, %d outward: want some of each", inward, outward)
	}
}

func mustEqual(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}
