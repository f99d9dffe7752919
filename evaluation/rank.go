package evaluation

import "math"

// removed is the score of an item that is not in the ranking.
var removed = math.Inf(-1)

// best appends the k items of highest score, best first, equal ones by number; removed items never. It reuses to's memory.
func best(to []int32, scores []float64, k int) []int32 {
	to = to[:0]
	for i, s := range scores {
		if s == removed || len(to) == k && s <= scores[to[k-1]] {
			continue
		}
		if len(to) < k {
			to = append(to, 0)
		}
		j := len(to) - 1
		for ; j > 0 && s > scores[to[j-1]]; j-- {
			to[j] = to[j-1]
		}
		to[j] = int32(i)
	}
	return to
}

// hits answers, for one user, with which probability an item is among the k best.
type hits struct {
	k      int
	scores []float64
	top    []int32 // the k best
	last   float64 // score of the k-th
	better int     // items above it
	equal  int     // items at it, there may be many
}

// newHits needs the k best, or all if there are fewer.
func newHits(k int, scores []float64, top []int32) hits {
	h := hits{k: k, scores: scores, top: top, last: removed}
	if len(top) < k {
		return h
	}
	h.last = scores[top[k-1]]
	for _, s := range scores {
		switch {
		case s > h.last:
			h.better++
		case s == h.last:
			h.equal++
		}
	}
	return h
}

// probability of an item that is in the ranking.
func (h *hits) probability(item int32) float64 {
	better, equal := h.place(item)
	if equal == 0 {
		return 0
	}
	return expected(h.k, better, equal)
}

// place of an item that is in the ranking: how many are better, and how many equal, itself included. None are equal to one below the k-th.
func (h *hits) place(item int32) (better, equal int) {
	s := h.scores[item]
	switch {
	case s < h.last:
		return 0, 0
	case s == h.last && s != removed:
		return h.better, h.equal
	}
	// Whatever is as good as an item above the k-th is among the k best itself.
	for _, i := range h.top {
		switch t := h.scores[i]; {
		case t > s:
			better++
		case t == s:
			equal++
		}
	}
	return better, equal
}

// expected is the probability of being among the k best if equal items, the one in question included, are ranked at random below the better ones.
func expected(k, better, equal int) float64 {
	return min(1, max(0, float64(k-better)/float64(equal)))
}

// recall is the mean over targets; there must be one.
func (h *hits) recall(targets []int32) float64 {
	sum := 0.0
	for _, t := range targets {
		sum += h.probability(t)
	}
	return sum / float64(len(targets))
}
