package dataset

import (
	"math"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

// bruteFrequency follows the definition of an in-batch draw.
func bruteFrequency(d *Dataset, s *Sampler) []float64 {
	f := make([]float64, d.meta.Items)
	users := 0
	for shard := range s.Shards() {
		users += len(s.Eligible(shardOf(shard)))
	}
	for shard := range s.Shards() {
		for _, u := range s.Eligible(shardOf(shard)) {
			q := d.User(int(u))
			ends := bruteEnds(q, d.meta.CutMS, s.horizon, d.meta.Positive)
			for _, e := range ends {
				first := q.TimeMS[max(0, int(e)+1-s.w.Model.Window)]
				var reach []int32
				for j, t := range q.TimeMS {
					if d.meta.Positive[q.Action[j]] && t > first && t <= q.TimeMS[e]+s.horizon && t <= d.meta.CutMS {
						reach = append(reach, q.Item[j])
					}
				}
				for _, v := range reach {
					f[v] += 1 / float64(users) / float64(len(ends)) / float64(len(reach))
				}
			}
		}
	}
	return f
}

func TestLogQIsTheExactExpectation(t *testing.T) {
	d := randomDataset(9, 200)
	s := sampler(t, d, what(3, 4))
	f := bruteFrequency(d, s)
	sum := 0.0
	for v, got := range s.LogQ() {
		want := math.Log(10*f[v] + 12.0/float64(d.meta.Items))
		if math.Abs(float64(got)-want) > 1e-6 {
			t.Errorf("item %d: log Q %g, want %g", v, got, want)
		}
		sum += math.Exp(float64(got))
	}
	if math.Abs(sum-22) > 1e-4 {
		t.Errorf("the multiplicities add up to %g, want the pool's 22", sum)
	}
}

func TestLogQFloor(t *testing.T) {
	d := randomDataset(9, 200)
	d.meta.Items = 14 // nobody has items 12 and 13
	w := what(3, 4)
	w.Negatives.Random = 0
	q := sampler(t, d, w).LogQ()
	least := q[0]
	for _, x := range q[:12] {
		least = min(least, x)
	}
	if q[12] != least || q[13] != least || math.IsInf(float64(least), 0) {
		t.Errorf("items without a positive: log Q %g and %g, want the least of the others, %g", q[12], q[13], least)
	}
	w.Negatives.InBatch = 0
	for v, x := range sampler(t, d, w).LogQ() {
		if x != 0 {
			t.Errorf("no pool: item %d has log Q %g, want 0", v, x)
		}
	}
}

// Over many epochs, in which all users take part equally often, the pool holds what Q says: chi-square over the items.
func TestPoolMultiplicityMatchesQ(t *testing.T) {
	d := randomDataset(10, 61)
	w := what(2, 6)
	w.Negatives = job.Negatives{InBatch: 12, Random: 6}
	d.meta.Holdout = 0
	s := sampler(t, d, w)
	if n := len(s.Eligible(0)); n != len(s.Eligible(1)) || n%6 != 0 {
		// Short steps draw the pool from fewer users: with full ones only, each user counts the same.
		d = trim(d, s, 6)
		s = sampler(t, d, w)
	}
	count := make([]float64, d.meta.Items)
	pools := 0.0
	var b Batch
	for step := range 4000 {
		for shard := range 2 {
			s.Batch(&b, stepOf(step), shardOf(shard))
			for _, v := range b.Negative {
				count[v]++
			}
			pools++
		}
	}
	chi := 0.0
	for v, q := range s.LogQ() {
		want := pools * math.Exp(float64(q))
		chi += (count[v] - want) * (count[v] - want) / want
	}
	// 11 degrees of freedom, but draws of one step share users and ends, which inflates the variance of the in-batch part; the
	// 99.9 % point of chi-square(11) is 31. A Q without the window's distribution, tested below, is far outside.
	if chi > 31 {
		t.Errorf("chi-square %.1f over %d items, want below 31", chi, len(count))
	}
	popularity := make([]float64, d.meta.Items)
	total := 0.0
	for i, v := range d.item {
		if d.meta.Positive[d.action[i]] {
			popularity[v]++
			total++
		}
	}
	wrong := 0.0
	for v := range count {
		want := pools * (12*popularity[v]/total + 6/float64(d.meta.Items))
		wrong += (count[v] - want) * (count[v] - want) / want
	}
	if wrong < 5*31 {
		t.Errorf("chi-square against plain popularity is %.1f: this test cannot tell", wrong)
	}
}

// trim keeps as many eligible users as fill every step.
func trim(d *Dataset, s *Sampler, users int) *Dataset {
	keep := map[int32]bool{}
	n := len(s.Eligible(1)) / users * users
	for shard := range 2 {
		for _, u := range s.Eligible(shardOf(shard))[:n] {
			keep[u] = true
		}
	}
	var kept []Sequence
	for u := range d.Users() {
		if keep[int32(u)] {
			kept = append(kept, d.User(u))
		}
	}
	return inMemory(d.meta, kept)
}
