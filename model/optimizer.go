package model

import (
	"errors"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
)

const (
	optimizerAdamW = "adamw"
	optimizerAdam  = "adam" // adamw without weight decay

	scheduleCosine   = "cosine"
	scheduleConstant = "constant"
)

func validateOptimizer(o *job.Optimizer) error {
	var errs []error
	bad := func(wrong bool, field string, value float64, want string) {
		if wrong {
			errs = append(errs, fmt.Errorf("what.optimizer.%s %g: want %s", field, value, want))
		}
	}
	bad(!(o.LR > 0 && o.LR <= math.MaxFloat32), "lr", o.LR, "more than 0, finite")
	bad(!(o.Beta1 >= 0 && o.Beta1 < 1), "beta1", o.Beta1, "at least 0, below 1")
	bad(!(o.Beta2 >= 0 && o.Beta2 < 1), "beta2", o.Beta2, "at least 0, below 1")
	bad(!(o.Eps > 0 && float32(o.Eps) > 0 && o.Eps <= 1), "eps", o.Eps, "more than 0, at most 1")
	bad(!(o.WeightDecay >= 0 && o.WeightDecay <= 1), "weight_decay", o.WeightDecay, "0 to 1")
	bad(!(o.Warmup >= 0 && o.Warmup <= 1), "warmup", o.Warmup, "0 to 1")
	bad(!(o.Clip >= 0 && o.Clip <= math.MaxFloat32), "clip", o.Clip, "0 (none) or more")
	bad(o.Name == optimizerAdam && o.WeightDecay != 0, "weight_decay", o.WeightDecay, "0 for optimizer.name adam")
	return errors.Join(append(errs,
		oneOf("what.optimizer.name", o.Name, optimizerAdamW, optimizerAdam),
		oneOf("what.optimizer.schedule", o.Schedule, scheduleCosine, scheduleConstant),
	)...)
}

// Schedule is the learning rate of the update from step to step+1 in a job of the given number of steps: it rises linearly
// to lr over the first warmup*steps updates, and then stays (constant) or falls along half a cosine towards 0 (cosine). The bits are the
// same on every machine.
func Schedule(o job.Optimizer, step, steps int64) float64 {
	warm := int64(math.Ceil(float64(o.Warmup * float64(steps))))
	switch {
	case step < warm:
		return float64(o.LR*float64(step+1)) / float64(warm)
	case o.Schedule == scheduleConstant:
		return o.LR
	case step >= steps:
		return 0
	}
	done := float64(step-warm) / float64(steps-warm)
	return float64(o.LR * float64(.5*(1+cosTurn(done/2))))
}

// State is what an update changes. The buffers have Size elements each.
type State struct {
	Params, Moment1, Moment2 device.F32
	Beta1Power, Beta2Power   float64 // running products beta^t in float64; 1 at step 0

	// Hashes are of no step but the last: device.Hashes.Sums of each device.Piece, of which the parameters are the first Size words of the state.
	Hashes device.U64
}

// HashSums is how many elements State.Hashes has.
func (m *Model) HashSums() int { return 2 * device.Pieces(m.length) }

// Update applies one update of AdamW, or of Adam, which is AdamW without decay, from step to step+1 of steps, with grad the gradient of the mean loss: the sum over all shards divided by
// the number of users that have a target. The gradient is clipped to the global norm optimizer.clip. It
// returns the norm before clipping. If that is not finite, or a length is wrong, nothing is changed and the error says so; a failure of the device
// surfaces in its lanes' Sync. grad keeps its values. The bits do not depend on how the work is spread.
func (m *Model) Update(spread device.Spread, s *State, grad device.F32, step, steps int64) (norm float64, err error) {
	for _, b := range []device.F32{s.Params, s.Moment1, s.Moment2, grad} {
		if b.N != m.length {
			return 0, fmt.Errorf("update parameters: a buffer of %d elements, want %d", b.N, m.length)
		}
	}
	if s.Hashes.N != m.HashSums() {
		return 0, fmt.Errorf("update parameters: room for %d sums of hashes, want %d", s.Hashes.N, m.HashSums())
	}
	o := &m.what.Optimizer
	norm = norm2(spread, grad)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, fmt.Errorf("update parameters at step %d: norm of the gradient %g: want a finite one", step, norm)
	}
	s.Beta1Power = float64(s.Beta1Power * o.Beta1)
	s.Beta2Power = float64(s.Beta2Power * o.Beta2)
	a := device.AdamW{
		LR: float32(Schedule(*o, step, steps)), Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps),
		Correction1: float32(1 - s.Beta1Power), Correction2: float32(1 - s.Beta2Power),
		Scale: clipScale(norm, o.Clip),
	}
	runs := m.decayRuns()
	spread(m.length, func(l device.Lane, lo, hi int) {
		sums := s.Hashes.Slice(2*(lo/device.Piece), 2*(lo/device.Piece)+2)
		device.Zero(l, sums)
		for _, r := range runs {
			if lo, hi := max(lo, r.lo), min(hi, r.hi); lo < hi {
				a := a
				if r.decay {
					a.Decay = float32(o.WeightDecay)
				}
				l.AdamW(s.Params.Slice(lo, hi), s.Moment1.Slice(lo, hi), s.Moment2.Slice(lo, hi), grad.Slice(lo, hi), a, device.Hashes{First: uint64(lo), Size: uint64(m.length), Sums: sums})
			}
		}
	})
	return norm, nil
}

// norm2 is the Euclidean norm.
func norm2(spread device.Spread, x device.F32) float64 {
	squares := make([]float64, device.Pieces(x.N))
	spread(x.N, func(l device.Lane, lo, hi int) { squares[lo/device.Piece] = l.SquaredNorm(x.Slice(lo, hi)) })
	return math.Sqrt(exact.SumPairs(squares))
}

func clipScale(norm, clip float64) float32 {
	if clip == 0 || norm <= clip {
		return 1
	}
	return float32(clip / norm)
}

// decayRun is a run of elements that decay alike.
type decayRun struct {
	lo, hi int
	decay  bool
}

// decayRuns joins neighbouring tensors: the update is elementwise.
func (m *Model) decayRuns() []decayRun {
	var runs []decayRun
	for _, t := range m.tensors {
		end := t.Offset + t.Len()
		if n := len(runs); n > 0 && runs[n-1].decay == t.Decay {
			runs[n-1].hi = end
		} else {
			runs = append(runs, decayRun{t.Offset, end, t.Decay})
		}
	}
	return runs
}
