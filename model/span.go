package model

// Span is elements Lo..Hi-1 of the flat vector.
type Span struct{ Lo, Hi int }

// Final is told, while a gradient is computed, that nothing will be added any more to the elements of one of the model's spans: what is issued to the lane
// from then on reads them as they will be. Spans come in order, each once; nil is nobody. A batch in which no user has a target has none.
type Final func(span int)

func (f Final) tell(span int) {
	if f != nil {
		f(span)
	}
}

// Spans cuts the flat vector into what the backward finishes at a time, in its order: the item tower if there is one, the output tower with the norm before it, blocks from the last to the
// first, what is before them, and the temperature.
func (m *Model) Spans() []Span {
	n, spans := &m.net, []Span(nil)
	hi := n.theta.offset
	cut := func(lo int) {
		spans = append(spans, Span{lo, hi})
		hi = lo
	}
	if m.tower() {
		cut(n.items.up.weight.offset)
	}
	cut(n.norm.gamma.offset)
	for i := len(n.blocks) - 1; i >= 0; i-- {
		cut(n.blocks[i].norm1.gamma.offset)
	}
	cut(0)
	return append(spans, Span{n.theta.offset, m.length})
}

// tower tells whether items are embedded here; in models of NewEncoded they come embedded.
func (m *Model) tower() bool { return m.sizes.encoded == 0 }
