package standin

import (
	"math"
	"slices"
)

// maxEntries bounds the matrix of co-occurrence; a row keeps its heaviest entries.
const maxEntries = 1 << 25

// ppmi is the positive pointwise mutual information of items seen by the same user: a user's pairs weigh 1/items together, and contexts
// are smoothed by the power 3/4.
func (h *History) ppmi() *sparse {
	seenBy := make([][]int32, h.items)
	total := make([]float64, h.items) // an item's weight of pairs with others
	for u, x := range h.users {
		n := float64(len(x.items))
		for _, i := range x.items {
			seenBy[i] = append(seenBy[i], int32(u))
			total[i] += (n - 1) / n
		}
	}
	context := make([]float64, h.items)
	var sum float64
	for i, t := range total {
		context[i] = math.Sqrt(t * math.Sqrt(t))
		sum += context[i]
	}
	for i := range context {
		context[i] /= sum
	}
	rows := make([][]entry, h.items)
	inParallel(h.items, func(from, to int) {
		weight := make([]float64, h.items)
		var touched []int32
		for i := from; i < to; i++ {
			rows[i], touched = h.row(int32(i), seenBy[i], total[i], context, weight, touched[:0])
		}
	})
	m := newSparse(h.items)
	for _, row := range rows {
		for _, e := range row {
			m.column, m.value = append(m.column, e.column), append(m.value, e.value)
		}
		m.end()
	}
	return m
}

type entry struct {
	column int32
	value  float32
	weight float64
}

// row computes one item's entries. weight is all zeros, before and after.
func (h *History) row(i int32, users []int32, total float64, context, weight []float64, touched []int32) ([]entry, []int32) {
	for _, u := range users {
		mine := h.users[u].items
		w := 1 / float64(len(mine))
		for _, j := range mine {
			if weight[j] == 0 {
				touched = append(touched, j)
			}
			weight[j] += w
		}
	}
	slices.Sort(touched)
	out := make([]entry, 0, len(touched))
	for _, j := range touched {
		w, expected := weight[j], total*context[j]
		weight[j] = 0
		if j != i && w > expected {
			out = append(out, entry{j, float32(math.Log(w / expected)), w})
		}
	}
	out = heaviest(out, max(32, maxEntries/h.items))
	return slices.Clip(out), touched
}

// heaviest keeps at most n entries, those of the largest weight: pairs that few users saw are mostly chance. Of equal weights the first
// columns stay, and the order too.
func heaviest(row []entry, n int) []entry {
	if len(row) <= n {
		return row
	}
	weights := make([]float64, len(row))
	for k, e := range row {
		weights[k] = e.weight
	}
	slices.Sort(weights)
	least := weights[len(weights)-n]
	equal := 0 // of those that weigh just as much as the lightest one kept, so many are kept
	for _, w := range weights[len(weights)-n:] {
		if w == least {
			equal++
		}
	}
	out := row[:0]
	for _, e := range row {
		if e.weight == least {
			equal--
		}
		if e.weight > least || e.weight == least && equal >= 0 {
			out = append(out, e)
		}
	}
	return out
}
