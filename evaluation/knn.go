package evaluation

import (
	"math"
	"slices"
)

// knn is item-to-item collaborative filtering. With x the training users' sets of positive items, n the number of users of an item, and C = x'x the
// co-occurrences, item j's score is the sum over the user's last 50 positives h, h != j, of C[h,j] / sqrt(n[h] n[j]).
//
// C is never made: for 17,000 items it would be nearly dense. The sum over h is x'(x w) with w[h] = (times h is in the history) / sqrt(n[h]), two
// passes over lists that are as long as the training data.
type knn struct {
	p       *population
	tie     []float64
	ofUser  lists
	ofItem  lists     // users of an item
	inverse []float64 // 1/sqrt(n); 0 for items that nobody has
}

// lists are lists of numbers in one run of memory: list i is data[start[i]:start[i+1]].
type lists struct {
	start []int
	data  []int32
}

func (l *lists) at(i int) []int32 { return l.data[l.start[i]:l.start[i+1]] }

func newKNN(p *population, t *training, tie []float64) *knn {
	k := &knn{p: p, tie: tie, inverse: make([]float64, p.items)}
	k.ofUser.start = []int{0}
	for _, items := range t.items {
		set := slices.Compact(slices.Sorted(slices.Values(items)))
		k.ofUser.data = append(k.ofUser.data, set...)
		k.ofUser.start = append(k.ofUser.start, len(k.ofUser.data))
	}
	k.ofItem = k.ofUser.transpose(p.items)
	for i := range k.inverse {
		if n := len(k.ofItem.at(i)); n > 0 {
			k.inverse[i] = 1 / math.Sqrt(float64(n))
		}
	}
	return k
}

// transpose returns, for each of n values, the lists that it is in, ascending.
func (l *lists) transpose(n int) lists {
	t := lists{start: make([]int, n+1), data: make([]int32, len(l.data))}
	for _, v := range l.data {
		t.start[v+1]++
	}
	for v := range n {
		t.start[v+1] += t.start[v]
	}
	next := slices.Clone(t.start)
	for i := range len(l.start) - 1 {
		for _, v := range l.at(i) {
			t.data[next[v]] = int32(i)
			next[v]++
		}
	}
	return t
}

func (k *knn) scores(which []int, dst [][]float64) error {
	weight := make([]float64, len(k.ofUser.start)-1) // by training user: x w
	for j, m := range which {
		k.score(&k.p.members[m], weight, dst[j])
	}
	return nil
}

func (k *knn) score(m *member, weight, dst []float64) {
	items, _ := k.p.positives(m)
	items = items[max(0, len(items)-knnHistory):]
	clear(weight)
	for _, h := range items {
		for _, v := range k.ofItem.at(int(h)) {
			weight[v] += k.inverse[h]
		}
	}
	clear(dst)
	for v, w := range weight {
		if w == 0 {
			continue
		}
		for _, i := range k.ofUser.at(v) {
			dst[i] += w
		}
	}
	for i := range dst {
		dst[i] *= k.inverse[i]
	}
	for _, h := range items {
		if k.inverse[h] > 0 {
			dst[h]-- // C[h,h] / n[h]
		}
	}
	for i := range dst {
		if math.Abs(dst[i]) < 1e-9 {
			dst[i] = 0 // what rounding leaves of an item that only met itself
		}
		dst[i] += k.tie[i]
	}
}
