package dataset

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

// bruteEnds follows the definition: an action at time t <= cut, last of its group of equal times, with a positive in (t, t+K] and <= cut.
func bruteEnds(s Sequence, cut, horizon int64, positive []bool) []int32 {
	var ends []int32
	for i, t := range s.TimeMS {
		last := i+1 == len(s.TimeMS) || s.TimeMS[i+1] != t
		found := false
		for j, tj := range s.TimeMS {
			found = found || positive[s.Action[j]] && tj > t && tj <= t+horizon && tj <= cut
		}
		if t <= cut && last && found {
			ends = append(ends, int32(i))
		}
	}
	return ends
}

func TestValidEndsAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	positive := []bool{true, false, true}
	seen := map[int]int{}
	for range 5000 {
		s := randomUsers(r, 1, 5, 3)[0]
		cut, horizon := int64(r.IntN(70))*dayMS-5*dayMS, int64(r.IntN(20))*dayMS
		n := until(s.TimeMS, cut)
		got := validEnds(nil, s.TimeMS[:n], s.Action[:n], positive, horizon)
		slices.Reverse(got)
		if want := bruteEnds(s, cut, horizon, positive); !slices.Equal(got, want) {
			t.Fatalf("times %v actions %v cut %d horizon %d: got %v, want %v", s.TimeMS, s.Action, cut, horizon, got, want)
		}
		seen[min(len(got), 2)]++
	}
	if len(seen) != 3 {
		t.Errorf("cases seen by number of ends: %v, want none, one and several", seen)
	}
}

func TestBatchAgainstDefinition(t *testing.T) {
	d := randomDataset(3, 300)
	w := what(4, 8)
	s := sampler(t, d, w)
	positive, horizon := d.meta.Positive, days(w.Loss.HorizonDays)
	var b Batch
	windows := 0
	for step := range 30 {
		for shard := range w.Shards {
			s.Batch(&b, stepOf(step), shardOf(shard))
			for k, u := range b.User {
				q := d.User(int(u))
				from, to := b.Offset[k], b.Offset[k+1]
				// The window is the run of actions that ends at a valid end.
				n := int(to - from)
				found := false
				for _, e := range bruteEnds(q, d.meta.CutMS, horizon, positive) {
					first := max(0, int(e)+1-w.Model.Window)
					found = found || int(e)+1-first == n && slices.Equal(q.TimeMS[first:e+1], b.TimeMS[from:to]) &&
						slices.Equal(q.Item[first:e+1], b.Item[from:to]) && slices.Equal(q.Action[first:e+1], b.Action[from:to])
				}
				if !found {
					t.Fatalf("user %d: window %v is no run that ends at a valid end of %v", u, b.TimeMS[from:to], q.TimeMS)
				}
				var items, own []int32
				var times []int64
				for j, tj := range q.TimeMS {
					if !positive[q.Action[j]] || tj > d.meta.CutMS {
						continue
					}
					own = append(own, q.Item[j])
					if tj > b.TimeMS[from] && tj <= b.TimeMS[to-1]+horizon {
						items, times = append(items, q.Item[j]), append(times, tj)
					}
				}
				slices.Sort(own)
				own = slices.Compact(own)
				p, o := b.PosItem[b.PosOffset[k]:b.PosOffset[k+1]], b.OwnItem[b.OwnOffset[k]:b.OwnOffset[k+1]]
				if !slices.Equal(p, items) || !slices.Equal(b.PosTimeMS[b.PosOffset[k]:b.PosOffset[k+1]], times) || len(p) == 0 {
					t.Fatalf("user %d: positives %v, want %v", u, p, items)
				}
				if !slices.Equal(o, own) {
					t.Fatalf("user %d: own %v, want %v", u, o, own)
				}
				windows++
			}
			if len(b.User) > 0 && len(b.Negative) != w.Negatives.InBatch+w.Negatives.Random || len(b.User) == 0 && len(b.Negative) != 0 {
				t.Fatalf("%d users, pool of %d", len(b.User), len(b.Negative))
			}
			for i, v := range b.Negative {
				if i < w.Negatives.InBatch && !slices.Contains(b.PosItem, v) || v < 0 || int(v) >= d.meta.Items {
					t.Fatalf("negative %d is %d: not from where it is drawn", i, v)
				}
			}
		}
	}
	if windows < 500 {
		t.Errorf("only %d windows were checked", windows)
	}
}

func TestEveryValidEndIsDrawnAboutEquallyOften(t *testing.T) {
	q := Sequence{ID: "only"}
	for i := range 6 {
		q.TimeMS, q.Item, q.Action = append(q.TimeMS, int64(i)*dayMS), append(q.Item, int32(i)), append(q.Action, 0)
	}
	d := inMemory(Meta{Items: 6, CutMS: 100 * dayMS, Types: []string{"a"}, Positive: []bool{true}}, []Sequence{q})
	w := what(1, 1)
	w.Negatives, w.Loss.HorizonDays = job.Negatives{InBatch: 4, Random: 6}, 5
	s := sampler(t, d, w)
	var b Batch
	count := map[int32]int{}
	for step := range 5000 { // one user: every step is an epoch
		s.Batch(&b, stepOf(step), 0)
		count[b.Item[len(b.Item)-1]]++
	}
	for end := range int32(5) { // the sixth has no later positive
		if c := count[end]; c < 850 || c > 1150 { // 1000 +- 5 standard deviations
			t.Errorf("end %d drawn %d times of 5000, want about 1000", end, c)
		}
	}
	if len(count) != 5 {
		t.Errorf("ends %v, want 5", count)
	}
}

func TestWindowsTakeTheNewestUpToTheEnd(t *testing.T) {
	d := randomDataset(5, 50)
	users, ends := []int32{}, []int64{}
	for u := range int32(50) {
		users, ends = append(users, u), append(ends, int64(u%61)*dayMS)
	}
	var b Batch
	if err := d.Windows(&b, 4, users, ends); err != nil {
		t.Fatal(err)
	}
	empty := 0
	for k, u := range users {
		q := d.User(int(u))
		var want []int64
		for _, x := range q.TimeMS {
			if x <= ends[k] {
				want = append(want, x)
			}
		}
		want = want[max(0, len(want)-4):]
		if got := b.TimeMS[b.Offset[k]:b.Offset[k+1]]; !slices.Equal(got, want) {
			t.Errorf("user %d: %v, want %v", u, got, want)
		}
		if len(want) == 0 {
			empty++
		}
	}
	if empty == 0 || len(b.PosItem)+len(b.OwnItem)+len(b.Negative) != 0 || len(b.PosOffset) != 51 || len(b.OwnOffset) != 51 {
		t.Errorf("%d users without tokens, %d positives, %d negatives", empty, len(b.PosItem), len(b.Negative))
	}
	if d.Windows(&b, 4, []int32{50}, []int64{0}) == nil || d.Windows(&b, 0, nil, nil) == nil || d.Windows(&b, 4, []int32{1}, nil) == nil {
		t.Error("impossible windows: no error")
	}
}
