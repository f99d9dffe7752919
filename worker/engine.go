package worker

import (
	"fmt"
	"sync"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// Engine computes a job's updates on one device: it owns the state and the lanes, sums the gradients of shards, and applies the sum. It
// knows nothing of the gang, nor where a shard's users come from: that is its Gradients' business. A step is
//
//	Begin
//	Compute   the gradients of this member's shards, summed on each lane; beside it, SumEarly
//	Digest    proves the state that they were computed from
//	Reduce    sums over lanes, then over members
//	Verify    refuses a sum that no update may read, or wants all of this again, wider
//	Update    applies it
//
// One goroutine trains with it; others may copy the state at a step boundary.
type Engine struct {
	what   job.What
	digest ringleader.Digest // of what
	dev    device.Device
	model  *model.Model
	steps  ringleader.Step // of the whole job
	lanes  []*lane
	spare  *lane       // for SumEarly, beside them
	copier device.Lane // copies the state out beside the lanes that train; mu guards it

	// The state. mu is held during an update, while a state is replaced and while it is copied out.
	mu             sync.Mutex
	params, m1, m2 device.F32
	scalars        checkpoints.Scalars
	step           ringleader.Step // -1: no state yet
	proofs         device.U64      // of what an update has written: model.State.Hashes
	proved         []uint64        // room for them
	written, seen  stateHash       // taken when the state was written, and by the last Digest or Proof
	witness        bool            // whether moments are hashed when they are read, and all is compared with what was written
	exponents      *exponents      // nil if the reduction has none; only what is of the state is guarded

	hashing bool    // whether hashes of shards' gradients are kept
	hashes  []int64 // of the shards computed in this pass, by shard, as the ring sums them

	sum    gradientSum // only the training goroutine uses it
	bucket int         // elements that the ring sums at a time
}

// EngineConfig says what an engine computes.
type EngineConfig struct {
	What   job.What // shards, reduction; its digest is part of the state's
	Model  *model.Model
	Steps  ringleader.Step // of the whole job
	Device device.Device
	Beat   *beat                                    // advanced by every operator; may be nil
	Open   func(ops device.Lane) (Gradients, error) // for each lane
}

// noState is the step of an engine that holds no state.
const noState ringleader.Step = -1

// OpenEngine reserves the memory of the state and the lanes. There is no state yet.
func OpenEngine(cfg EngineConfig) (*Engine, error) { return openEngine(cfg, 0) }

// openEngine: buckets are whole blocks of exponents; 0 is what suits the words in which sums travel.
func openEngine(cfg EngineConfig, bucket int) (_ *Engine, err error) {
	e := &Engine{what: cfg.What, digest: cfg.What.Digest(), dev: cfg.Device, model: cfg.Model, steps: cfg.Steps, step: noState, bucket: bucket, hashes: make([]int64, cfg.What.Shards)}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	n := e.model.Size()
	for _, buf := range []*device.F32{&e.params, &e.m1, &e.m2} {
		if *buf, err = device.Alloc[float32](e.dev, n); err != nil {
			return nil, fmt.Errorf("reserve state of %d parameters: %w", n, err)
		}
	}
	if e.proofs, err = device.Alloc[uint64](e.dev, e.model.HashSums()); err != nil {
		return nil, fmt.Errorf("reserve hashes of %d parameters: %w", n, err)
	}
	e.proved = make([]uint64, e.proofs.N)
	if e.exponents, err = e.openExponents(); err != nil {
		return nil, fmt.Errorf("reserve exponents of %d parameters: %w", n, err)
	}
	if e.sum, err = e.openSum(); err != nil {
		return nil, fmt.Errorf("reserve sum of %d parameters: %w", n, err)
	}
	if e.copier, err = e.dev.NewLane(cfg.Beat); err != nil {
		return nil, fmt.Errorf("open lane of %s: %w", e.dev.Name(), err)
	}
	ops, err := e.dev.NewLane(cfg.Beat)
	if err != nil {
		return nil, fmt.Errorf("open lane of %s: %w", e.dev.Name(), err)
	}
	e.spare = &lane{index: e.dev.Lanes(), ops: ops}
	for i := range e.dev.Lanes() {
		l, err := e.openLane(&cfg, i)
		if err != nil {
			return nil, fmt.Errorf("open lane %d of %s: %w", i, e.dev.Name(), err)
		}
		e.lanes = append(e.lanes, l)
	}
	return e, nil
}

// Close waits for whoever is still copying the state out, and releases everything.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.step = noState
	if e.copier != nil {
		// It only copied; a copy that failed was reported to whoever asked for it.
		_ = e.copier.Close()
		e.copier = nil
	}
	for _, l := range append(e.lanes, e.spare) {
		if l != nil {
			l.close(e.dev)
		}
	}
	e.lanes, e.spare = nil, nil
	if e.sum != nil {
		e.sum.free()
		e.sum = nil
	}
	e.exponents.free(e.dev)
	for _, b := range []*device.F32{&e.params, &e.m1, &e.m2} {
		if b.Addr != 0 {
			e.dev.Free(b.Addr)
		}
		*b = device.F32{}
	}
	if e.proofs.Addr != 0 {
		e.dev.Free(e.proofs.Addr)
		e.proofs = device.U64{}
	}
}

// check returns what broke a lane first, if something did: its errors stay, and what breaks a device breaks all lanes. A device that failed once is not trusted again.
func (e *Engine) check() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, err := range []error{e.sync(), e.spare.ops.Sync(), e.copier.Sync()} {
		if err != nil {
			e.step = noState
			return err
		}
	}
	return nil
}

// forget gives up the state; the memory stays.
func (e *Engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.step = noState
}

// at returns the completed steps of the state held.
func (e *Engine) at() ringleader.Step {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.step
}
