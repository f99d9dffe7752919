package model

import (
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

// Tensor is a named part of the flat vector of parameters, which moments and gradients share. Tensors follow one another without gaps, in
// canonical order; elements are row-major. A linear map of I inputs and O outputs has the shape [O, I].
type Tensor struct {
	Name   string
	Shape  []int
	Offset int  // of the first element
	Decay  bool // weight decay applies: to the matrices of linear maps, not to biases, norms, embeddings, phases and the temperature

	index     int     // place among all tensors, those of features that are off included: a switch leaves the others' start as it is
	deviation float64 // start: normal with this standard deviation, or:
	fill      float64 // start: this value
}

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// ref is where a tensor is, as a matrix; vectors have one row. The zero ref is a tensor that is off.
type ref struct{ offset, rows, cols int }

func (r ref) mat(flat device.F32) device.Mat { return device.Matrix(r.vec(flat), r.rows, r.cols) }
func (r ref) vec(flat device.F32) device.F32 { return flat.Slice(r.offset, r.offset+r.rows*r.cols) }
func (r ref) host(flat []float32) []float32  { return flat[r.offset : r.offset+r.rows*r.cols] }

type (
	linear struct{ weight, bias ref } // [O, I], [O]
	norm   struct{ gamma, beta ref }  // [H], [H]
	mlp    struct{ up, down linear }  // GELU between, unit length behind
)

// block is one layer of the transformer.
type block struct {
	norm1       norm
	qkv, output linear // [3H, H], [H, H]
	norm2       norm
	up, down    linear // [FFN, H], [H, FFN]
}

// network is where every parameter is.
type network struct {
	action, surface         ref // [types, d_a], [surfaces, d_s]
	absolute, relative, gap ref // phases, [2 periods]
	input                   linear
	position                ref // [window, H], row 0 for the newest action
	blocks                  []block
	norm                    norm
	output, items           mlp
	theta                   ref // log of the temperature
}

// columns are where each feature is in the token matrix.
type columns struct{ item, action, surface, duration, absolute, relative, gap, end int }

func (m *Model) columns() columns {
	f, s := &m.features, &m.sizes
	var c columns
	at := s.encoded
	put := func(to *int, on bool, width int) {
		*to = at
		if on {
			at += width
		}
	}
	put(&c.item, f.item, s.vector)
	put(&c.action, f.action, s.actionDim)
	put(&c.surface, f.surface, s.surfaceDim)
	put(&c.duration, f.duration, 1)
	put(&c.absolute, f.absolute, 2*len(absolutePeriods)+1)
	put(&c.relative, f.relative, 2*relativePeriodCount+1)
	put(&c.gap, f.gap, 2*relativePeriodCount+1)
	c.end = at
	return c
}

func (m *Model) inputWidth() int { return m.columns().end }

// standard is the standard deviation that weights start with.
const standard = 0.02

// lay gives every tensor its place.
func (m *Model) lay() {
	f, s, n := &m.features, &m.sizes, &m.net
	l := layer{m: m}
	n.action = l.table(f.action, "embeddings.action.weight", s.actions, s.actionDim)
	n.surface = l.table(f.surface, "embeddings.surface.weight", s.surfaces, s.surfaceDim)
	n.absolute = l.vector(f.absolute, "encodings.absolute_time.phase", 2*len(absolutePeriods), 0)
	n.relative = l.vector(f.relative, "encodings.relative_time.phase", 2*relativePeriodCount, 0)
	n.gap = l.vector(f.gap, "encodings.gap_time.phase", 2*relativePeriodCount, 0)
	n.input = l.linear("input", s.width, m.inputWidth(), standard)
	n.position = l.table(f.position, "position.weight", s.window, s.width)
	residual := standard / math.Sqrt(2*float64(s.layers))
	for i := range s.layers {
		name := fmt.Sprintf("blocks.%d.", i)
		n.blocks = append(n.blocks, block{
			norm1:  l.norm(name+"norm1", s.width),
			qkv:    l.linear(name+"attention.qkv", 3*s.width, s.width, standard),
			output: l.linear(name+"attention.output", s.width, s.width, residual),
			norm2:  l.norm(name+"norm2", s.width),
			up:     l.linear(name+"ffn.up", s.ffn, s.width, standard),
			down:   l.linear(name+"ffn.down", s.width, s.ffn, residual),
		})
	}
	n.norm = l.norm("norm", s.width)
	n.output = l.mlp("output", s.width, s.ffn, s.dim)
	if s.encoded == 0 {
		n.items = l.mlp("items", s.vector, s.itemHidden, s.dim)
	}
	n.theta = l.vector(true, "log_temperature", 1, logIEEE(m.what.Model.Temperature))
}

// layer lays tensors one behind another.
type layer struct {
	m    *Model
	next int // index of the next tensor
}

func (l *layer) put(on bool, t Tensor) ref {
	t.index = l.next
	l.next++
	if !on {
		return ref{}
	}
	t.Offset = l.m.length
	l.m.length += t.Len()
	l.m.tensors = append(l.m.tensors, t)
	r := ref{t.Offset, 1, t.Shape[0]}
	if len(t.Shape) == 2 {
		r.rows, r.cols = t.Shape[0], t.Shape[1]
	}
	return r
}

func (l *layer) table(on bool, name string, rows, cols int) ref {
	return l.put(on, Tensor{Name: name, Shape: []int{rows, cols}, deviation: standard})
}

func (l *layer) vector(on bool, name string, n int, fill float64) ref {
	return l.put(on, Tensor{Name: name, Shape: []int{n}, fill: fill})
}

func (l *layer) linear(name string, out, in int, deviation float64) linear {
	return linear{
		weight: l.put(true, Tensor{Name: name + ".weight", Shape: []int{out, in}, Decay: true, deviation: deviation}),
		bias:   l.vector(true, name+".bias", out, 0),
	}
}

func (l *layer) norm(name string, n int) norm {
	return norm{gamma: l.vector(true, name+".weight", n, 1), beta: l.vector(true, name+".bias", n, 0)}
}

func (l *layer) mlp(name string, in, hidden, out int) mlp {
	return mlp{up: l.linear(name+".up", hidden, in, standard), down: l.linear(name+".down", out, hidden, standard)}
}
