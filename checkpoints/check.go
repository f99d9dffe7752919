package checkpoints

import (
	"fmt"
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/exact"
)

// Digest is the state's digest: the words of all parameters, then of m, then of v, then the exponents, then the scalars, each counted by its index in that
// order. It reads the whole state once.
func (s *State) Digest() ringleader.Digest {
	var sum, at uint64
	for _, tensors := range [][]Tensor{s.Params, s.Moment1, s.Moment2} {
		for _, t := range tensors {
			sum += exact.HashFloats(t.Data, at)
			at += uint64(len(t.Data))
		}
	}
	rest := append(exact.ExponentWords(s.Exponents), s.Scalars.Words()...)
	return exact.FinishDigest(sum+exact.HashWords(rest, at), s.Step, s.Job)
}

// Words are the scalars as the digest sees them: in the order of the fields, low word first.
func (s Scalars) Words() []uint32 {
	words := make([]uint32, 0, 10)
	for _, v := range []uint64{math.Float64bits(s.Beta1Power), math.Float64bits(s.Beta2Power), s.Ledger, s.Users, s.Tokens} {
		words = append(words, uint32(v), uint32(v>>32))
	}
	return words
}

// Match says whether the state is that of a model with these parameters, by names and shapes; the data of params is not looked at. The error
// names the first tensor that differs.
func (s *State) Match(params []Tensor) error {
	for _, list := range []struct {
		what    string
		tensors []Tensor
	}{{"parameter", s.Params}, {"first moment", s.Moment1}, {"second moment", s.Moment2}} {
		if err := matchTensors(list.what, list.tensors, params); err != nil {
			return fmt.Errorf("match state of step %d: %w", s.Step, err)
		}
	}
	return nil
}

func matchTensors(what string, have, want []Tensor) error {
	for i, w := range want {
		if i >= len(have) {
			return fmt.Errorf("%s %d: missing, the model has %q %v", what, i, w.Name, w.Shape)
		}
		if h := have[i]; h.Name != w.Name || !slices.Equal(h.Shape, w.Shape) {
			return fmt.Errorf("%s %d: %q %v, the model has %q %v", what, i, h.Name, h.Shape, w.Name, w.Shape)
		}
	}
	if len(have) > len(want) {
		h := have[len(want)]
		return fmt.Errorf("%s %d: %q %v, the model has none", what, len(want), h.Name, h.Shape)
	}
	return nil
}

// Check says whether the state is one that can be saved: moments like parameters, data like shapes, names that differ.
func (s *State) Check() error {
	if s.Step < 0 {
		return fmt.Errorf("check state: step %d is negative", s.Step)
	}
	if err := s.Match(s.Params); err != nil {
		return fmt.Errorf("check state: %w", err)
	}
	seen := map[string]bool{}
	total := 0
	for i, p := range s.Params {
		if p.Name == "" || seen[p.Name] {
			return fmt.Errorf("check state: parameter %d: the name %q is empty or taken", i, p.Name)
		}
		seen[p.Name] = true
		n := 1
		for _, d := range p.Shape {
			n *= d
		}
		for _, have := range []int{len(p.Data), len(s.Moment1[i].Data), len(s.Moment2[i].Data)} {
			if have != n {
				return fmt.Errorf("check state: parameter %q: shape %v has %d elements, the data %d", p.Name, p.Shape, n, have)
			}
		}
		total += n
	}
	return checkExponents(s.Exponents, total)
}

// checkExponents wants one for each block of n elements, or none.
func checkExponents(e []int8, n int) error {
	if want := exact.Blocks(n); len(e) != 0 && len(e) != want {
		return fmt.Errorf("check state: %d exponents, want %d for %d parameters, or none", len(e), want, n)
	}
	for b, v := range e {
		if v < exact.MinExponent || v > exact.MaxExponent {
			return fmt.Errorf("check state: exponent %d is %d, want %d..%d", b, v, exact.MinExponent, exact.MaxExponent)
		}
	}
	return nil
}
