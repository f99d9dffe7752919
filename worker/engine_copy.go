package worker

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// How a state gets from one engine to another: as a header and its words in canonical order, parameters, moments, exponents. Whoever has it lets it be
// read, by any goroutine; whoever wants it places it where it belongs, in any order, and takes it over at the end if it is what the header says.

// stand describes the state at a step, for whoever copies it. Any goroutine may call it.
func (e *Engine) stand(step ringleader.Step) (*rpcpb.StateHeader, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.step != step || step == noState {
		return nil, fmt.Errorf("holds step %d, not %d", e.step, step)
	}
	n := uint64(e.model.Size())
	digest, s := e.finish(stateHash{e.copier.Hash(e.params, 0), e.written.moments}, false), e.scalars
	return &rpcpb.StateHeader{Step: int64(step), Digest: digest.String(), Parameters: n,
		Beta1Power: s.Beta1Power, Beta2Power: s.Beta2Power, Ledger: s.Ledger, Users: s.Users, Tokens: s.Tokens}, e.copier.Sync()
}

// words is the number of a state's words: parameters, moments, exponents.
func (e *Engine) words() int { return 3*e.model.Size() + e.exponents.count() }

// read copies words of the state at a step, from the first on in canonical order. Any goroutine may call it.
func (e *Engine) read(step ringleader.Step, first int, into []float32) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.step != step || step == noState {
		return fmt.Errorf("holds step %d, not %d any more", e.step, step)
	}
	n := e.model.Size()
	for i, v := range []device.F32{e.params, e.m1, e.m2} {
		lo, hi := max(first, i*n), min(first+len(into), (i+1)*n)
		if lo < hi {
			device.Download(e.copier, into[lo-first:hi-first], v.Slice(lo-i*n, hi-i*n))
		}
	}
	for i, word := range e.exponents.words(false) {
		if at := 3*n + i - first; at >= 0 && at < len(into) {
			into[at] = math.Float32frombits(word)
		}
	}
	return e.copier.Sync()
}

// place writes a piece of the words' bytes to where they belong, from byte at on: the state that is to be adopted next. The engine holds none meanwhile.
func (e *Engine) place(at int, data []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.step = noState
	n := 4 * e.model.Size()
	for i, v := range []device.F32{e.params, e.m1, e.m2} {
		lo, hi := max(at, i*n), min(at+len(data), (i+1)*n)
		if lo < hi {
			e.copier.Upload(v.Addr+uintptr(lo-i*n), unsafe.Pointer(&data[lo-at]), hi-lo)
		}
	}
	e.exponents.place(at-3*n, data)
}

// adopt makes what was placed the state, if it is what was announced.
func (e *Engine) adopt(h *rpcpb.StateHeader, step ringleader.Step) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.copier.Sync()
	e.scalars, e.step = scalarsOf(h), step
	e.written = stateHash{e.hash(e.params, 0), e.hashMoments()}
	if err = errors.Join(err, e.sync()); err == nil {
		err = announced(h, step, e.finish(e.written, false))
	}
	if err != nil {
		e.step = noState
	}
	return err
}

// announced refuses a state that is not the one that a header announces.
func announced(h *rpcpb.StateHeader, step ringleader.Step, got ringleader.Digest) error {
	if got.String() != h.Digest || ringleader.Step(h.Step) != step {
		return fmt.Errorf("state at step %d with digest %s, announced %s at step %d", step, got, h.Digest, h.Step)
	}
	return nil
}

func scalarsOf(h *rpcpb.StateHeader) checkpoints.Scalars {
	return checkpoints.Scalars{Beta1Power: h.Beta1Power, Beta2Power: h.Beta2Power, Ledger: h.Ledger, Users: h.Users, Tokens: h.Tokens}
}

// bytesOf views little-endian floats as bytes; the package builds for little-endian machines only (see allreduce).
func bytesOf(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}
