package model

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSpans: they cut the vector into pieces, and what the lane reads of one when it is told that nothing will be added is what it reads in the end.
func TestSpans(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	spans := s.m.Spans()
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b Span) int { return a.Lo - b.Lo })
	at := 0
	for _, span := range sorted {
		if span.Lo != at || span.Hi <= at {
			t.Fatalf("spans %v do not follow one another", sorted)
		}
		at = span.Hi
	}
	if at != s.m.Size() {
		t.Fatalf("spans end at %d of %d", at, s.m.Size())
	}

	params, grad := s.upload(t, "params", s.params), s.upload(t, "grad", make([]float32, s.m.Size()))
	var told [][]float32
	final := func(span int) {
		if span != len(told) {
			t.Fatalf("span %d is told after %d others", span, len(told))
		}
		told = append(told, s.download(t, grad.Slice(spans[span].Lo, spans[span].Hi)))
	}
	if _, err := s.run.Gradient(t.Context(), params, grad, randomBatch(rand.New(rand.NewPCG(3, 3)), s.m, 5, 3, 6), final); err != nil {
		t.Fatal(err)
	}
	whole := s.download(t, grad)
	for i, span := range spans {
		if i >= len(told) || !slices.Equal(told[i], whole[span.Lo:span.Hi]) {
			t.Errorf("span %d, %v, changed after it was told of, or was not told of", i, span)
		}
	}
	if len(told) != len(spans) {
		t.Errorf("%d spans were told of, want %d", len(told), len(spans))
	}
}
