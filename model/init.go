package model

import (
	"errors"
	"fmt"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// Init writes the parameters at step 0: a pure function of the job's seed, the tensor and the element. Weights and embeddings are normal with deviation
// .02, those of projections into the residual stream divided by sqrt(2L); norms start at 1, biases and phases at 0. model.init: identity then replaces
// what makes training start from a sensible recommender, see identity. dst has Size elements.
func (m *Model) Init(dst []float32) error {
	if len(dst) != m.length {
		return fmt.Errorf("initialise parameters: %d elements, want %d", len(dst), m.length)
	}
	for _, t := range m.tensors {
		part := dst[t.Offset : t.Offset+t.Len()]
		key := counter.Key(m.what.Seed, counter.Init, uint64(t.index))
		for i := range part {
			if t.deviation > 0 {
				part[i] = float32(float64(t.deviation * normal(key, uint64(i))))
			} else {
				part[i] = float32(t.fill)
			}
		}
	}
	if m.what.Model.Init == initIdentity {
		m.identity(dst)
	}
	return nil
}

// validateIdentity says whether the identity fits into the shapes.
func (m *Model) validateIdentity() error {
	s := &m.sizes
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("what.model.init identity: "+format+"; or choose normal", args...))
		}
	}
	bad(!m.features.item, "what.model.drop_features.item: the identity starts from the item vector")
	bad(s.width != s.dim, "what.model.width %d: want what.model.dim %d", s.width, s.dim)
	bad(s.vector > s.width, "what.model.width %d: want at least the data set's vector_dim %d", s.width, s.vector)
	bad(s.ffn < 2*s.width, "what.model.ffn %d: want at least twice what.model.width %d", s.ffn, s.width)
	bad(s.itemHidden < 2*s.vector, "what.model.item_hidden %d: want at least twice the data set's vector_dim %d", s.itemHidden, s.vector)
	return errors.Join(errs...)
}

const (
	// mixing weighs the mean over the history against the newest action at the identity start: the mean of n unlike vectors is short.
	mixing = 4
	// quiet and quieter shrink the random weights around the identity.
	quiet   = 0.3
	quieter = 0.1
)

// identity makes the untrained model score items by their likeness to the mean of the history: the input passes the item vector on, block
// 0 attends (almost) evenly and adds mixing times the mean, and both towers are the identity, because GELU(x) - GELU(-x) = x.
func (m *Model) identity(p []float32) {
	s, n := &m.sizes, &m.net
	scale(n.input.weight.host(p), quiet)
	setIdentity(p, n.input.weight, 0, 0, s.width, s.vector, 1)
	for i := range n.blocks {
		scale(n.blocks[i].down.weight.host(p), quieter)
	}
	first := &n.blocks[0]
	setIdentity(p, first.qkv.weight, 2*s.width, 0, s.width, s.width, 1)
	setIdentity(p, first.output.weight, 0, 0, s.width, s.width, mixing)
	identityTower(p, n.output, s.width, s.dim)
	identityTower(p, n.items, s.vector, s.dim)
}

// identityTower makes a tower of in inputs pass them on to its first in outputs.
func identityTower(p []float32, t mlp, in, out int) {
	scale(t.up.weight.host(p), quiet)
	scale(t.down.weight.host(p), quiet)
	setIdentity(p, t.up.weight, 0, 0, in, in, 1)
	setIdentity(p, t.up.weight, in, 0, in, in, -1)
	setIdentity(p, t.down.weight, 0, 0, out, in, 1)
	setIdentity(p, t.down.weight, 0, in, out, in, -1)
}

// setIdentity overwrites the rows x cols part at (row, col) of a matrix with value on its diagonal and 0 elsewhere.
func setIdentity(p []float32, r ref, row, col, rows, cols int, value float32) {
	w := r.host(p)
	for i := range rows {
		part := w[(row+i)*r.cols+col:][:cols]
		clear(part)
		if i < cols {
			part[i] = value
		}
	}
}

func scale(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}
