package model

import (
	"math"
	"slices"
	"testing"
)

// What happens later does not reach back: the content of later actions changes no bit of earlier outputs. (Their times and number do: the time to the newest action and the recency
// of a token are known by construction.)
func TestCausality(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	b := randomBatch(random(4), s.m, 5, 6, 3)
	before := slices.Clone(s.embeddings(t, b))
	const at = 7 // the third token of the second user
	for i := at; i < 11; i++ {
		b.Item[i] = (b.Item[i] + 1) % int32(s.m.sizes.items)
		b.Action[i] = (b.Action[i] + 1) % int32(s.m.sizes.actions)
		b.Surface[i] = 1 - b.Surface[i]
		b.Duration[i] += 5
	}
	after := s.embeddings(t, b)
	d := s.m.Dim()
	for i := range b.Item {
		same := slices.Equal(before[i*d:(i+1)*d], after[i*d:(i+1)*d])
		if later := i >= at && i < 11; same == later {
			t.Errorf("token %d: same %v, later %v", i, same, later)
		}
	}
}

// Users do not see one another: packed together they get the embeddings, and the sum of the gradients, that they get alone.
func TestPacking(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	b := randomBatch(random(8), s.m, 5, 1, 0, 6, 2)
	packed := s.users(t, b)
	grad, res := s.gradient(t, b)
	sum := make([]float32, s.m.Size())
	var loss float64
	d := s.m.Dim()
	for u := range b.User {
		one := alone(b, u)
		e := s.users(t, one)
		for i, x := range e {
			if math.Abs(float64(x-packed[u*d+i])) > 1e-6 {
				t.Fatalf("user %d: embedding %v alone, %v packed", u, e, packed[u*d:(u+1)*d])
			}
		}
		g, r := s.gradient(t, one)
		loss += r.Loss
		for i := range sum {
			sum[i] += g[i]
		}
	}
	if math.Abs(loss-res.Loss) > 1e-6*loss {
		t.Errorf("loss %v packed, %v alone", res.Loss, loss)
	}
	mustBeNear(t, s.m, grad, sum, 1e-5)
}

// Evaluation sees what training saw, without dropout: the newest token's embedding, and zero for nobody.
func TestUsersAreTheNewestTokens(t *testing.T) {
	w := tinyWhat()
	s := newSetup(t, w, tinyMeta())
	b := randomBatch(random(8), s.m, 5, 1, 0, 6, 2)
	all := slices.Clone(s.embeddings(t, b))
	d := s.m.Dim()
	w.Model.Dropout = .5
	dropping := newSetup(t, w, tinyMeta())
	got := dropping.users(t, b)
	for u := range b.User {
		want := make([]float32, d)
		if b.Offset[u+1] > b.Offset[u] {
			want = all[int(b.Offset[u+1]-1)*d : int(b.Offset[u+1])*d]
		}
		for i := range want {
			if math.Abs(float64(got[u*d+i]-want[i])) > 1e-6 {
				t.Fatalf("user %d: %v, want %v", u, got[u*d:(u+1)*d], want)
			}
		}
	}
}

// Many users and items go through in blocks of bounded memory, and come out in order.
func TestBlocks(t *testing.T) {
	meta := tinyMeta()
	meta.Items = blockItems + 10
	s := newSetup(t, tinyWhat(), meta)
	lengths := make([]int, 1500)
	for i := range lengths {
		lengths[i] = (i * 5) % 7
	}
	b := randomBatch(random(8), s.m, lengths...)
	if len(b.Item) <= blockTokens {
		t.Fatalf("%d tokens: want more than one block", len(b.Item))
	}
	got, d := s.users(t, b), s.m.Dim()
	items := make([]float32, meta.Items*d)
	if err := s.run.Items(s.dev32["params"], items); err != nil {
		t.Fatal(err)
	}
	r := s.reference()
	r.dropout = false
	near := func(what string, i int, got []float32, want []float64) {
		for k := range want {
			if math.Abs(float64(got[k])-want[k]) > 2e-6 {
				t.Fatalf("%s %d: %v, want %v", what, i, got, want)
			}
		}
	}
	for u := 0; u < len(b.User); u += 13 {
		want := make([]float64, d)
		if e := r.user(b, u); len(e) > 0 {
			want = e[len(e)-1]
		}
		near("user", u, got[u*d:(u+1)*d], want)
	}
	for i := 0; i < meta.Items; i += 101 {
		near("item", i, items[i*d:(i+1)*d], r.item(int32(i)))
	}
}
