//go:build cuda

package cuda

import "github.com/ringleader-dev/ringleader/device"

// bands is the part of the loss that has positives, as its kernels want it: row r is token[r] of segment[r] with the positives lo[r]..hi[r]-1; and
// the way back, from positives to rows: positive j is in the bands of the rows runs[2i]..runs[2i+1]-1, for starts[j] <= i < starts[j+1].
type bands struct {
	token, segment, lo, hi []int32
	starts, runs           []int32
}

// bandsOf takes checked arguments.
func bandsOf(a *device.AllAction) *bands {
	b := &bands{starts: make([]int32, a.Positive.N+1)}
	first := []int{0} // rows of each segment that has some
	for s := range a.Seg.Count() {
		for m := a.Seg.Host[s]; m < a.Seg.Host[s+1]; m++ {
			if a.Lo[m] < a.Hi[m] {
				b.token, b.segment = append(b.token, m), append(b.segment, int32(s))
				b.lo, b.hi = append(b.lo, a.Lo[m]), append(b.hi, a.Hi[m])
			}
		}
		if len(b.token) > first[len(first)-1] {
			first = append(first, len(b.token))
		}
	}
	b.reverse(first)
	return b
}

// reverse: bands do not decrease within a segment, so that the rows of a positive are one run in each.
func (b *bands) reverse(first []int) {
	each := func(f func(j int32, from, to int)) {
		for i := range len(first) - 1 {
			from, to, end := first[i], first[i], first[i+1]
			for j := b.lo[from]; j < b.hi[end-1]; j++ {
				for to < end && b.lo[to] <= j {
					to++
				}
				for from < to && b.hi[from] <= j {
					from++
				}
				if from < to {
					f(j, from, to)
				}
			}
		}
	}
	each(func(j int32, _, _ int) { b.starts[j+1]++ })
	for j := range len(b.starts) - 1 {
		b.starts[j+1] += b.starts[j]
	}
	b.runs = make([]int32, 2*b.starts[len(b.starts)-1])
	next := append([]int32(nil), b.starts...)
	each(func(j int32, from, to int) {
		b.runs[2*next[j]], b.runs[2*next[j]+1] = int32(from), int32(to)
		next[j]++
	})
}
