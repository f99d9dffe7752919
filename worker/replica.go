package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// replica is one job on this worker: the data, the model, the lanes, and the state on the device. It outlives
// generations. One goroutine trains with it; others may copy the state at a step boundary (snapshot).
type replica struct {
	id     ringleader.JobID
	digest ringleader.Digest // of the job's "what"
	what   job.What
	dev    device.Device

	data    *dataset.Dataset
	sampler *dataset.Sampler
	model   *model.Model
	lanes   []*lane
	copier  device.Lane // copies the state out beside the lanes that train; mu guards it
	vectors device.F32
	steps   ringleader.Step // of the whole job

	// The state. mu is held during an update, while a state is replaced and while it is copied out.
	mu             sync.Mutex
	params, m1, m2 device.F32
	scalars        checkpoints.Scalars
	step           ringleader.Step // -1: no state yet
	momentHash     uint64          // of m1 and m2, taken when they were written

	// The gradient on the host, where the ring sums it, and room for a part of one lane's: integers or floats. Only the training
	// goroutine uses them.
	sums, sumPart     []int64
	floats, floatPart []float32
}

// partElements is how much of another lane's sum is on the host at a time.
const partElements = 1 << 16

// noState is the step of a replica that holds no state.
const noState ringleader.Step = -1

// openReplica opens the job's data, builds its model and reserves its memory. An error that the job itself causes, on any worker,
// is a *jobError.
func openReplica(ctx context.Context, cfg *Config, b *beat, id ringleader.JobID, what job.What) (_ *replica, err error) {
	r := &replica{id: id, digest: what.Digest(), what: what, dev: cfg.Device, step: noState}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := withinCap(what.ISA, cfg.Device.Class()); err != nil {
		return nil, err
	}
	source, err := cfg.OpenStore(ctx, what.Data)
	if err != nil {
		return nil, fmt.Errorf("open data %s: %w", what.Data, err)
	}
	defer source.Close() // opening reads all that is needed into the cache
	if r.data, err = dataset.Open(ctx, source, filepath.Join(cfg.Dir, "data")); err != nil {
		return nil, fmt.Errorf("open data %s: %w", what.Data, err)
	}
	if got := r.data.Meta().Digest; got != what.DataDigest {
		return nil, &jobError{fmt.Errorf("what.data %s: content digest %s, the job was submitted with %s", what.Data, got, what.DataDigest)}
	}
	if r.sampler, err = dataset.NewSampler(r.data, what); err != nil {
		return nil, &jobError{fmt.Errorf("sample users: %w", err)}
	}
	if r.model, err = model.New(what, r.data.Meta()); err != nil {
		return nil, &jobError{fmt.Errorf("build model: %w", err)}
	}
	r.steps = ringleader.Step(what.Steps)
	if what.Epochs > 0 {
		r.steps = ringleader.Step(what.Epochs * r.sampler.StepsPerEpoch())
	}
	return r, r.reserve(b)
}

// withinCap refuses a device that computes with more than the job allows: its bits would be others. The instruction set is part of the
// class of CPUs: cpu/amd64/avx2/...
func withinCap(isa, class string) error {
	order := []string{"avx2", "avx512", "avx512_bf16", "amx", "best"}
	kind, rest, _ := strings.Cut(class, "/")
	if parts := strings.Split(rest, "/"); isa != "" && kind == "cpu" && len(parts) > 1 && slices.Index(order, parts[1]) > slices.Index(order, isa) {
		return fmt.Errorf("what.isa is %s, and this worker computes with %s; start it with --isa %s", isa, parts[1], isa)
	}
	return nil
}

// reserve allocates the state, the item vectors and the lanes on the device.
func (r *replica) reserve(b *beat) (err error) {
	n := r.model.Size()
	for _, buf := range []*device.F32{&r.params, &r.m1, &r.m2} {
		if *buf, err = device.Alloc[float32](r.dev, n); err != nil {
			return fmt.Errorf("reserve state of %d parameters: %w", n, err)
		}
	}
	v := r.data.Vectors()
	if r.vectors, err = device.Alloc[float32](r.dev, v.Rows*v.Cols); err != nil {
		return fmt.Errorf("reserve %d item vectors: %w", v.Rows, err)
	}
	if r.copier, err = r.dev.NewLane(b); err != nil {
		return fmt.Errorf("open lane of %s: %w", r.dev.Name(), err)
	}
	for i := range r.dev.Lanes() {
		l, err := newLane(r, b)
		if err != nil {
			return fmt.Errorf("open lane %d of %s: %w", i, r.dev.Name(), err)
		}
		r.lanes = append(r.lanes, l)
	}
	if r.exact() {
		r.sums, r.sumPart = make([]int64, n), make([]int64, min(n, partElements))
	} else {
		r.floats, r.floatPart = make([]float32, n), make([]float32, min(n, partElements))
	}
	device.Upload(r.lanes[0].ops, r.vectors, v.Data)
	return r.lanes[0].ops.Sync()
}

// close waits for whoever is still copying the state out.
func (r *replica) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step = noState
	if r.copier != nil {
		// It only copied; a copy that failed was reported to whoever asked for it.
		_ = r.copier.Close()
		r.copier = nil
	}
	for _, l := range r.lanes {
		l.close(r.dev)
	}
	for _, b := range []device.F32{r.params, r.m1, r.m2, r.vectors} {
		if b.Addr != 0 {
			r.dev.Free(b.Addr)
		}
	}
	if r.data != nil {
		// The files were only read; there is nothing to lose.
		_ = r.data.Close()
	}
}

// check returns what broke a lane, if something did: its errors stay. A device that failed once is not trusted again.
func (r *replica) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := []error{r.copier.Sync()}
	for _, l := range r.lanes {
		errs = append(errs, l.ops.Sync())
	}
	err := errors.Join(errs...)
	if err != nil {
		r.step = noState
	}
	return err
}

// forget gives up the state; the memory stays.
func (r *replica) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step = noState
}

// jobError is an error that would meet the job on every worker.
type jobError struct{ error }

func (e *jobError) Unwrap() error { return e.error }

func isJobError(err error) bool { var e *jobError; return errors.As(err, &e) }

// at returns the completed steps of the state held.
func (r *replica) at() ringleader.Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.step
}

// initialise gives the replica the state at step 0, a pure function of the job.
func (r *replica) initialise() error {
	params := make([]float32, r.model.Size())
	if err := r.model.Init(params); err != nil {
		return &jobError{fmt.Errorf("initialise parameters: %w", err)}
	}
	zero := make([]float32, len(params))
	return r.install(params, zero, zero, checkpoints.Scalars{Beta1Power: 1, Beta2Power: 1}, 0)
}

// load replaces the state by one from a checkpoint.
func (r *replica) load(st *checkpoints.State) error {
	if err := st.Match(r.tensors(make([]float32, r.model.Size()))); err != nil {
		return &jobError{err}
	}
	return r.install(flatten(st.Params), flatten(st.Moment1), flatten(st.Moment2), st.Scalars, st.Step)
}

func (r *replica) install(params, m1, m2 []float32, s checkpoints.Scalars, step ringleader.Step) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := r.lanes[0].ops
	device.Upload(ops, r.params, params)
	device.Upload(ops, r.m1, m1)
	device.Upload(ops, r.m2, m2)
	r.momentHash = r.hashMoments()
	r.scalars, r.step = s, noState
	if err := ops.Sync(); err != nil {
		return fmt.Errorf("install state at step %d: %w", step, err)
	}
	r.step = step
	return nil
}

// hashMoments is the moments' part of the state digest. mu is held.
func (r *replica) hashMoments() uint64 {
	n := uint64(r.model.Size())
	ops := r.lanes[0].ops
	return ops.Hash(r.m1, n) + ops.Hash(r.m2, 2*n)
}

// stateDigest proves the state that the coming update will read. Only the training goroutine calls it.
func (r *replica) stateDigest() ringleader.Digest {
	sum := r.lanes[0].ops.Hash(r.params, 0) + r.momentHash + exact.HashWords(r.scalars.Words(), uint64(3*r.model.Size()))
	return exact.FinishDigest(sum, r.step, r.digest)
}

// snapshot copies the state to the host: the only part of a checkpoint that training waits for. Any goroutine may call it.
func (r *replica) snapshot() (*checkpoints.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.step == noState {
		return nil, errors.New("no state is held")
	}
	st := &checkpoints.State{Job: r.digest, Step: r.step, Scalars: r.scalars}
	for _, part := range []struct {
		to   *[]checkpoints.Tensor
		from device.F32
	}{{&st.Params, r.params}, {&st.Moment1, r.m1}, {&st.Moment2, r.m2}} {
		flat := make([]float32, r.model.Size())
		device.Download(r.copier, flat, part.from)
		*part.to = r.tensors(flat)
	}
	return st, r.copier.Sync()
}

// tensors names the parts of a flat vector.
func (r *replica) tensors(flat []float32) []checkpoints.Tensor {
	var ts []checkpoints.Tensor
	for _, t := range r.model.Tensors() {
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		ts = append(ts, checkpoints.Tensor{Name: t.Name, Shape: slices.Clone(t.Shape), Data: flat[t.Offset : t.Offset+n]})
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
