package evaluation

import "math"

// any is the probability that at least one of the targets, distinct items of the ranking, is among the k best.
func (h *hits) any(targets []int32) float64 {
	tied := 0
	for _, t := range targets {
		switch better, equal := h.place(t); {
		case equal == 0:
		case better+equal <= h.k:
			return 1
		default:
			tied++
		}
	}
	if tied == 0 {
		return 0
	}
	// The rest are equal to the k-th. Who gets the places from h.better on is drawn without replacement from h.equal items.
	missed := 1.0
	for i := range h.k - h.better {
		missed *= float64(max(0, h.equal-tied-i)) / float64(h.equal-i)
	}
	return 1 - missed
}

// ndcg is the expected discounted gain of the targets, distinct items of the ranking, divided by that of a ranking that begins with them.
func (h *hits) ndcg(targets []int32) float64 {
	gain, best := 0.0, 0.0
	for n, t := range targets {
		better, equal := h.place(t)
		sum := 0.0
		for place := better; place < min(better+equal, h.k); place++ {
			sum += discount(place)
		}
		if equal > 0 {
			gain += sum / float64(equal)
		}
		if n < h.k {
			best += discount(n)
		}
	}
	return gain / best
}

// discount of a place; the first is 0.
func discount(place int) float64 { return 1 / math.Log2(float64(place+2)) }
