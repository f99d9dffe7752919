package checkpoints

import "github.com/ringleader-dev/ringleader"

// State is everything that step t+1 reads and that is neither in the job nor in the data, on the host. The order of
// Tensors is canonical: it drives the digest, the fetch by a joiner and the files of a checkpoint.
type State struct {
	Job     ringleader.Digest // digest of the job's "what"
	Step    ringleader.Step
	Params  []Tensor // parameters, in the model's order
	Moment1 []Tensor // Adam's m, names and shapes as Params
	Moment2 []Tensor // Adam's v
	// Exponents are those of the blocks of the gradient, by which the coming step converts (exact.BlockElements): of jobs whose reduction has them.
	Exponents []int8
	Scalars   Scalars
}

// Tensor is a named float32 array, row-major.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Scalars are the counters of a state. Their place in the digest is last, in this order, low word first.
type Scalars struct {
	Beta1Power float64 // running product beta1^t
	Beta2Power float64
	Ledger     uint64 // sum over trained (user, step) of H(user, step) mod 2^64
	Users      uint64 // user visits trained so far
	Tokens     uint64
}
