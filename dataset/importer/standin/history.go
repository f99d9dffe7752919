// Package standin computes item vectors for those who have none: from the items' texts, from what training users did together before the
// cut, and from how often. They are a stand-in for a learned content embedding, and say so.
//
// The result is a function of its input: no result depends on the number of threads.
package standin

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/ringleader-dev/ringleader/dataset"
)

// Sizes.
const (
	// The parts' dimensions; with the degrees they make 128, which fits models of width 128.
	textDim  = 61
	coocDim  = 64
	lastSeen = 200              // a user's newest positives that count as seen together
	maxPairs = 400_000_000      // pairs of items of one user, over all users: beyond it users are sampled
	day      = 24 * 3600 * 1000 // ms
)

// degreeDays are the windows before the cut whose log degrees are lanes; the first is all time.
var degreeDays = [3]float64{0, 28, 7}

// History collects what the vectors are made of.
type History struct {
	Text []string // by item; the caller's

	items    int
	cutMS    int64
	holdout  float64
	positive []bool

	degree [3][]float64
	users  []user
	pairs  int64
	level  uint // users are kept with probability 2^-level, by their hash
}

// user is one training user's distinct items, ascending.
type user struct {
	hash  uint64
	items []int32
}

// NewHistory begins for a catalogue. Of m it reads the cut, the hold-out, and which action types are positive.
func NewHistory(items int, m *dataset.Meta) *History {
	h := &History{items: items, cutMS: m.CutMS, holdout: m.Holdout, positive: m.Positive}
	for i := range h.degree {
		h.degree[i] = make([]float64, items)
	}
	return h
}

// Add takes in one user. Held-out users and what comes after the cut are left out: an evaluation must not know them from the vectors.
func (h *History) Add(s dataset.Sequence) {
	if dataset.HeldoutID(s.ID, h.holdout) {
		return
	}
	var seen []int32
	for i, t := range s.TimeMS {
		if t > h.cutMS || !h.positive[s.Action[i]] {
			continue
		}
		seen = append(seen, s.Item[i])
		for w, days := range degreeDays {
			if days == 0 || float64(h.cutMS-t) < days*day {
				h.degree[w][s.Item[i]]++
			}
		}
	}
	seen = slices.Clone(seen[max(0, len(seen)-lastSeen):])
	slices.Sort(seen)
	seen = slices.Compact(seen)
	if len(seen) < 2 {
		return
	}
	h.keep(user{xxhash.Sum64String(s.ID), seen})
}

// keep adds a user unless the sample leaves it out; a sample that is too large is halved. Which users are in it at the end depends
// on all of them, not on their order.
func (h *History) keep(u user) {
	if !h.sampled(u) {
		return
	}
	h.users = append(h.users, u)
	h.pairs += int64(len(u.items)) * int64(len(u.items))
	for h.pairs > maxPairs {
		h.level++
		h.pairs = 0
		h.users = slices.DeleteFunc(h.users, func(u user) bool { return !h.sampled(u) })
		for _, u := range h.users {
			h.pairs += int64(len(u.items)) * int64(len(u.items))
		}
	}
}

func (h *History) sampled(u user) bool {
	return u.hash<<(64-h.level)>>(64-h.level) == 0 || h.level == 0
}

// Vectors computes them, and says what they are.
func (h *History) Vectors(ctx context.Context) (dataset.Vectors, string, error) {
	if len(h.Text) != h.items {
		return dataset.Vectors{}, "", fmt.Errorf("%d texts for %d items", len(h.Text), h.items)
	}
	var blocks []*dense
	var from []string
	for _, part := range []struct {
		name   string
		dim    int
		matrix func() *sparse
		weight func(s float64) float64
	}{
		{"text", textDim, func() *sparse { return tfidf(h.Text) }, func(s float64) float64 { return s }},
		{"cooccurrence", coocDim, h.ppmi, math.Sqrt},
	} {
		m := part.matrix()
		if len(m.column) == 0 {
			continue
		}
		b, err := truncatedSVD(ctx, m, part.dim, part.weight)
		if err != nil {
			return dataset.Vectors{}, "", fmt.Errorf("%s: %w", part.name, err)
		}
		b.normalise()
		blocks, from = append(blocks, b), append(from, part.name)
	}
	return h.join(blocks), "stand-in: " + strings.Join(append(from, "degree"), "+"), nil
}

// join puts the parts side by side, at unit length together, and appends the log degrees at the same variance per lane.
func (h *History) join(blocks []*dense) dataset.Vectors {
	all := newDense(h.items, 0)
	for _, b := range blocks {
		all = beside(all, b)
	}
	all.normalise()
	degrees := newDense(h.items, len(h.degree))
	for w, counts := range h.degree {
		standardise(degrees, w, counts, 1/math.Sqrt(float64(max(all.cols, 1))))
	}
	all = beside(all, degrees)
	v := dataset.Vectors{Rows: all.rows, Cols: all.cols, Data: make([]float32, len(all.data))}
	for i, x := range all.data {
		v.Data[i] = float32(x)
	}
	return v
}

// standardise writes log(1+count), with mean 0 and deviation scale, into a column.
func standardise(to *dense, column int, counts []float64, scale float64) {
	n := float64(len(counts))
	var sum, squares float64
	for _, c := range counts {
		sum += math.Log1p(c)
	}
	for _, c := range counts {
		d := math.Log1p(c) - sum/n
		squares += d * d
	}
	if squares == 0 {
		return
	}
	for i, c := range counts {
		to.row(i)[column] = (math.Log1p(c) - sum/n) / math.Sqrt(squares/n) * scale
	}
}
