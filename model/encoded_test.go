package model

import (
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// chain is a shard in which every token has one positive, none of them among the negatives, which are all different.
func chain(m *Model, lengths ...int) *dataset.Batch {
	b := &dataset.Batch{Step: 3, Shard: 5, Offset: []int32{0}, PosOffset: []int32{0}, OwnOffset: []int32{0}}
	half := m.sizes.items / 2
	for u, n := range lengths {
		b.User = append(b.User, int32(u))
		for i := range n {
			now := int64(1_700_000_000_000 + i*hourMS)
			b.Item, b.Action, b.TimeMS = append(b.Item, int32((3*u+5*i)%m.sizes.items)), append(b.Action, 0), append(b.TimeMS, now)
			b.PosItem, b.PosTimeMS = append(b.PosItem, int32((u+i)%half)), append(b.PosTimeMS, now+1)
		}
		own := slices.Clone(b.PosItem[b.PosOffset[u]:])
		slices.Sort(own)
		b.OwnItem = append(b.OwnItem, slices.Compact(own)...)
		b.Offset, b.PosOffset, b.OwnOffset = append(b.Offset, int32(len(b.Item))), append(b.PosOffset, int32(len(b.PosItem))), append(b.OwnOffset, int32(len(b.OwnItem)))
	}
	for i := half; i < m.sizes.items; i++ {
		b.Negative = append(b.Negative, int32(i))
	}
	return b
}

// TestEncoded: given the tokens and the items of an ordinary model, the model behind them gives the same loss and gradient, bit for bit.
func TestEncoded(t *testing.T) {
	w, meta := tinyWhat(), tinyMeta()
	w.Model.Drop.Action, w.Model.Drop.Absolute, w.Model.Drop.Relative, w.Model.Drop.Gap = true, true, true, true
	meta.Surfaces, meta.Durations = nil, false
	w.Loss.Objective, w.Loss.LogQ, w.Model.Dropout = objectiveSASRec, logQOff, .25
	s := newSetup(t, w, meta)
	batch := chain(s.m, 5, 1, 6)
	grad, want := s.gradient(t, batch)

	m, err := NewEncoded(w, meta.VectorDim)
	if err != nil {
		t.Fatal(err)
	}
	e := &setup{m: m}
	for _, tensor := range m.Tensors() {
		e.params = append(e.params, part(s.m, s.params, tensor.Name)...)
	}
	e.open(t)
	shard := &EncodedShard{
		Step: 3, Shard: 5, Lengths: []int{5, 1, 6}, Tokens: s.run.ws.tokens,
		Items: s.run.ws.items.unit, Pool: s.run.goal.pool, Positive: s.run.goal.positive,
	}
	for range 2 { // the second time, memory is there already
		params, to := e.upload(t, "params", e.params), e.upload(t, "grad", make([]float32, m.Size()))
		got, err := e.run.EncodedGradient(t.Context(), params, to, shard, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("result %+v, want %+v", got, want)
		}
		all := e.download(t, to)
		for _, tensor := range m.Tensors() {
			if !slices.Equal(part(m, all, tensor.Name), part(s.m, grad, tensor.Name)) {
				t.Errorf("gradient of %s differs", tensor.Name)
			}
		}
	}
	if lost := len(s.m.Tensors()) - len(m.Tensors()); lost != 4 {
		t.Errorf("%d tensors are missing, want the 4 of the item tower", lost)
	}
}

// part is a tensor's part of a flat vector.
func part(m *Model, flat []float32, name string) []float32 {
	for _, t := range m.Tensors() {
		if t.Name == name {
			return flat[t.Offset : t.Offset+t.Len()]
		}
	}
	return nil
}

func TestEncodedRefuses(t *testing.T) {
	if _, err := NewEncoded(tinyWhat(), 0); err == nil {
		t.Error("tokens of no width are no error")
	}
	w := tinyWhat()
	w.Model.Heads = 3
	if _, err := NewEncoded(w, 4); err == nil || !strings.Contains(err.Error(), "model.heads 3") {
		t.Errorf("heads that do not divide the width: %v", err)
	}
	m, err := NewEncoded(tinyWhat(), 4)
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{m: m, params: make([]float32, m.Size())}
	s.open(t)
	tokens, items := device.Matrix(s.upload(t, "tokens", make([]float32, 12)), 3, 4), device.Matrix(s.upload(t, "items", make([]float32, 30)), 5, 6)
	for want, change := range map[string]func(b *EncodedShard){
		"user 1 has 0 tokens":              func(b *EncodedShard) { b.Lengths = []int{3, 0} },
		"user 0 has 7 tokens":              func(b *EncodedShard) { b.Lengths = []int{7} },
		"encoded tokens 3 x 4: want 2 x 4": func(b *EncodedShard) { b.Lengths = []int{2} },
		"pool of 6 in 5 x 6":               func(b *EncodedShard) { b.Pool = 6 },
		"2 positives":                      func(b *EncodedShard) { b.Positive = b.Positive[:2] },
		"positive 2 is 5":                  func(b *EncodedShard) { b.Positive = []int32{0, 4, 5} },
	} {
		b := &EncodedShard{Lengths: []int{1, 2}, Tokens: tokens, Items: items, Pool: 4, Positive: []int32{4, 4, 4}}
		change(b)
		if _, err := s.run.EncodedGradient(t.Context(), s.upload(t, "params", s.params), s.upload(t, "grad", s.params), b, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
