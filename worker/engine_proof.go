package worker

import (
	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// stateHash is what a state's words contribute to its digest.
type stateHash struct{ params, moments uint64 }

// Witness makes the engine compare all of the state that it reads with the record of what it has written: two members that differ need to know whose
// memory has changed, and of three the others tell. The record itself is free: an update hashes what it writes while it has it at hand. So a step costs
// one more pass over the parameters, before anything is applied, and for a witness one over the moments.
func (e *Engine) Witness(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.witness = on
}

// Digest proves the state that the coming update will read. Moments are taken for what was written, unless there is a witness: a change shows in the
// digest of the next step, and is in nobody else's state. If wide, the exponents of the second pass are in the place of the state's own. Only the training
// goroutine calls it.
func (e *Engine) Digest(wide bool) ringleader.Digest {
	e.seen = stateHash{e.hash(e.params, 0), e.written.moments}
	if e.witness {
		e.seen.moments = e.hashMoments()
	}
	return e.finish(e.seen, wide)
}

// Proof is the digest of every word that is held: what a checkpoint stores.
func (e *Engine) Proof() ringleader.Digest {
	e.seen = stateHash{e.hash(e.params, 0), e.hashMoments()}
	return e.finish(e.seen, false)
}

// changed reports whether what Digest or Proof has read is not what was written, as far as there is a record of that.
func (e *Engine) changed() bool {
	return e.seen.moments != e.written.moments || e.witness && e.seen.params != e.written.params
}

// wrote records the state that an update has written, from what it has hashed while it wrote (waits). mu is held.
func (e *Engine) wrote() {
	device.Download(e.lanes[0].ops, e.proved, e.proofs)
	e.written = stateHash{}
	for i := 0; i < len(e.proved); i += 2 {
		e.written.params += e.proved[i]
		e.written.moments += e.proved[i+1]
	}
}

// hashMoments is the moments' part of the state digest.
func (e *Engine) hashMoments() uint64 {
	n := uint64(e.model.Size())
	return e.hash(e.m1, n) + e.hash(e.m2, 2*n)
}

// finish is the digest of a state with the present step, exponents and scalars.
func (e *Engine) finish(h stateHash, wide bool) ringleader.Digest {
	rest := exact.HashWords(append(e.exponents.words(wide), e.scalars.Words()...), uint64(3*e.model.Size()))
	return exact.FinishDigest(h.params+h.moments+rest, e.step, e.digest)
}
