package worker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/device"
)

// Initialise gives the engine the state at step 0, a pure function of the job.
func (e *Engine) Initialise() error {
	params := make([]float32, e.model.Size())
	if err := e.model.Init(params); err != nil {
		return &jobError{fmt.Errorf("initialise parameters: %w", err)}
	}
	zero := make([]float32, len(params))
	return e.install(params, zero, zero, nil, checkpoints.Scalars{Beta1Power: 1, Beta2Power: 1}, 0)
}

// load replaces the state by one from a checkpoint. Exponents may be missing, or be more than this job needs: a fork's.
func (e *Engine) load(st *checkpoints.State) error {
	if err := st.Match(e.tensors(make([]float32, e.model.Size()))); err != nil {
		return &jobError{err}
	}
	return e.install(flatten(st.Params), flatten(st.Moment1), flatten(st.Moment2), st.Exponents, st.Scalars, st.Step)
}

func (e *Engine) install(params, m1, m2 []float32, exponents []int8, s checkpoints.Scalars, step ringleader.Step) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	ops := e.lanes[0].ops
	device.Upload(ops, e.params, params)
	device.Upload(ops, e.m1, m1)
	device.Upload(ops, e.m2, m2)
	e.exponents.install(exponents)
	e.scalars, e.step = s, noState
	err := ops.Sync()
	e.written = stateHash{e.hash(e.params, 0), e.hashMoments()}
	if err = errors.Join(err, e.sync()); err != nil {
		return fmt.Errorf("install state at step %d: %w", step, err)
	}
	e.step = step
	return nil
}

// Snapshot is a copy of a state on the host.
type Snapshot struct {
	checkpoints.State
	flat [3][]float32 // what the tensors are parts of
}

// snapshot is Snapshot into new memory.
func (e *Engine) snapshot() (*checkpoints.State, error) {
	s, err := e.Snapshot(nil)
	if err != nil {
		return nil, err
	}
	return &s.State, nil
}

// Snapshot copies the state to the host: the only part of a checkpoint that training waits for. The memory of one that nobody needs any more is
// used again: new memory would take the system longer than the copy takes. Any goroutine may call it.
func (e *Engine) Snapshot(spare *Snapshot) (*Snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.step == noState {
		return nil, errors.New("no state is held")
	}
	s := &Snapshot{State: checkpoints.State{Job: e.digest, Step: e.step, Exponents: e.exponents.snapshot(), Scalars: e.scalars}}
	if spare != nil {
		s.flat = spare.flat
	}
	for i, part := range []struct {
		to   *[]checkpoints.Tensor
		from device.F32
	}{{&s.Params, e.params}, {&s.Moment1, e.m1}, {&s.Moment2, e.m2}} {
		if len(s.flat[i]) != e.model.Size() {
			s.flat[i] = make([]float32, e.model.Size())
		}
		device.Download(e.copier, s.flat[i], part.from)
		*part.to = e.tensors(s.flat[i])
	}
	return s, e.copier.Sync()
}

// tensors names the parts of a flat vector.
func (e *Engine) tensors(flat []float32) []checkpoints.Tensor {
	var ts []checkpoints.Tensor
	for _, t := range e.model.Tensors() {
		ts = append(ts, checkpoints.Tensor{Name: t.Name, Shape: slices.Clone(t.Shape), Data: flat[t.Offset : t.Offset+t.Len()]})
	}
	return ts
}

func flatten(ts []checkpoints.Tensor) []float32 {
	var flat []float32
	for _, t := range ts {
		flat = append(flat, t.Data...)
	}
	return flat
}
