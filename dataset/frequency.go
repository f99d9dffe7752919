package dataset

import "math"

// frequency is what one in-batch draw yields, in expectation over the eligible users and the ends of their windows: exactly, since
// both are known in advance. A draw takes a user uniformly, whose end is uniform among its valid ones, and then a positive uniform
// among those that the window's tokens can reach.
type frequency struct {
	sum  []float64 // by item: shares of one, over all users
	cum  []int32   // scratch: positives among the first i actions
	diff []uint64  // scratch: differences of shares along one user's positives
}

// one is the share of a whole user in fixed point: what is added to a run is taken away again exactly at its end, which floats do not do.
const one = uint64(1) << 62

// add counts one user. Its positives are sorted by time and those that an end reaches are a run [lo, hi) of them, so an end adds
// 1/ends/(hi-lo) to a run: two entries in an array of differences, whose running sum gives every positive its share.
func (f *frequency) add(q *Sequence, n int, ends []int32, window int, horizon int64, positive []bool) {
	f.cum = append(f.cum[:0], 0)
	for i := range n {
		c := f.cum[i]
		if positive[q.Action[i]] {
			c++
		}
		f.cum = append(f.cum, c)
	}
	f.diff = f.diff[:0]
	for range f.cum[n] + 1 {
		f.diff = append(f.diff, 0)
	}
	times := q.TimeMS[:n]
	for _, end := range ends {
		first := max(0, int(end)+1-window)
		lo, hi := f.cum[until(times, times[first])], f.cum[until(times, times[end]+horizon)]
		share := one / (uint64(len(ends)) * uint64(hi-lo))
		f.diff[lo] += share
		f.diff[hi] -= share
	}
	var share uint64
	for i := range n {
		if positive[q.Action[i]] {
			share += f.diff[f.cum[i]]
			f.sum[q.Item[i]] += float64(share)
		}
	}
}

// divide turns sums into the expectation over the eligible users, and gives the scratch back.
func (f *frequency) divide(eligible int) {
	for i := range f.sum {
		f.sum[i] /= float64(one) * float64(eligible)
	}
	f.cum, f.diff = nil, nil
}

// LogQ is, by item, the log of the expected multiplicity in a shard's pool of negatives, Q(v) = N_in f(v) + N_r/|I|. An item that
// the pool cannot hold has the smallest multiplicity of those that it can: finite, and corrected no less than any of them.
func (s *Sampler) LogQ() []float32 {
	items := float64(s.d.meta.Items)
	q := make([]float64, s.d.meta.Items)
	least := math.Inf(1)
	for i, f := range s.frequency.sum {
		q[i] = float64(float64(s.inBatch)*f) + float64(s.random)/items
		if q[i] > 0 {
			least = min(least, q[i])
		}
	}
	out := make([]float32, len(q))
	for i, x := range q {
		if x == 0 {
			x = least
		}
		if !math.IsInf(x, 1) { // no pool at all: nothing to correct
			out[i] = float32(math.Log(x))
		}
	}
	return out
}
