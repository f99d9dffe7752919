package dataset

import (
	"context"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/internal/counter"
	"github.com/ringleader-dev/ringleader/job"
)

func stepOf(i int) ringleader.Step   { return ringleader.Step(i) }
func shardOf(i int) ringleader.Shard { return ringleader.Shard(i) }

func TestShardsAreDealtEvenlyAndInOrder(t *testing.T) {
	d := randomDataset(1, 400)
	s := sampler(t, d, what(7, 8))
	total, least, most := 0, math.MaxInt, 0
	for shard := range 7 {
		n := len(s.Eligible(shardOf(shard)))
		total, least, most = total+n, min(least, n), max(most, n)
	}
	if most-least > 1 {
		t.Errorf("shards of %d to %d users: want a difference of at most 1", least, most)
	}
	var dealt []int32
	for i := range total {
		dealt = append(dealt, s.Eligible(shardOf(i % 7))[i/7])
	}
	mean := func(u int32) float64 {
		ends := bruteEnds(d.User(int(u)), d.meta.CutMS, days(9), d.meta.Positive)
		sum := 0
		for _, end := range ends {
			sum += min(int(end)+1, what(7, 8).Model.Window)
		}
		return math.Floor(256 * float64(sum) / float64(len(ends)))
	}
	for i := 1; i < len(dealt); i++ {
		if a, b := dealt[i-1], dealt[i]; mean(a) > mean(b) || mean(a) == mean(b) && d.hash[a] >= d.hash[b] {
			t.Fatalf("place %d: user %d with %g tokens and hash %x before user %d with %g and %x: want them ascending", i, a, mean(a), d.hash[a], b, mean(b), d.hash[b])
		}
	}
	var want []int32
	for u := range d.Users() {
		q := d.User(u)
		if !HeldoutID(q.ID, d.meta.Holdout) && len(bruteEnds(q, d.meta.CutMS, days(9), d.meta.Positive)) > 0 {
			want = append(want, int32(u))
		}
	}
	slices.Sort(dealt)
	if !slices.Equal(dealt, want) {
		t.Errorf("%d eligible users, want %d", len(dealt), len(want))
	}
}

func TestEqualHashesAreOrderedByID(t *testing.T) {
	d := randomDataset(1, 20)
	for i := range d.hash {
		d.hash[i] = 5 // nobody is held out at this hash and fraction
	}
	d.meta.Holdout = 0
	w := what(1, 4)
	w.Model.Window = 1 // all have one token
	mine := sampler(t, d, w).Eligible(0)
	if !slices.IsSorted(mine) { // indices are in the order of ids
		t.Errorf("order %v: want that of the ids", mine)
	}
}

func TestAnEpochVisitsEveryUserOnce(t *testing.T) {
	d := randomDataset(2, 333)
	w := what(5, 7)
	s := sampler(t, d, w)
	var orders [3][]int32
	for epoch := range 3 {
		seen := map[int32]int{}
		var users []int32
		for k := range int(s.StepsPerEpoch()) {
			for shard := range w.Shards {
				users = users[:0]
				s.turns(stepOf(epoch*int(s.StepsPerEpoch())+k), shardOf(shard), func(turns []turn) {
					for _, t := range turns {
						users = append(users, t.user)
					}
				})
				if full := k < int(s.StepsPerEpoch())-1; len(users) > w.UsersPerShard || full && len(users) != w.UsersPerShard {
					t.Errorf("step %d, shard %d: %d users of %d", k, shard, len(users), w.UsersPerShard)
				}
				for _, u := range users {
					seen[u]++
				}
				orders[epoch] = append(orders[epoch], users...)
			}
		}
		total := 0
		for shard := range w.Shards {
			for _, u := range s.Eligible(shardOf(shard)) {
				total++
				if seen[u] != 1 {
					t.Errorf("epoch %d: user %d visited %d times", epoch, u, seen[u])
				}
			}
		}
		if len(seen) != total {
			t.Errorf("epoch %d: %d users visited, want %d", epoch, len(seen), total)
		}
	}
	if slices.Equal(orders[0], orders[1]) || slices.Equal(orders[1], orders[2]) {
		t.Error("two epochs have the same order")
	}
}

// TestStepsHaveLikeManyTokens: dealt at random, these steps differ by more than a tenth.
func TestStepsHaveLikeManyTokens(t *testing.T) {
	w := what(3, 16)
	s := sampler(t, randomDataset(9, 1500), w)
	var b Batch
	for shard := range w.Shards {
		full := len(s.Eligible(shardOf(shard))) / w.UsersPerShard
		least, most, sum := math.MaxInt, 0, 0
		for k := range full {
			s.Batch(&b, stepOf(k), shardOf(shard))
			n := len(b.Item)
			least, most, sum = min(least, n), max(most, n), sum+n
		}
		if full < 10 || 20*(most-least)*full > sum {
			t.Errorf("shard %d: %d steps of %d to %d tokens: want at least 10, and a twentieth of the mean between them at most", shard, full, least, most)
		}
	}
}

// snapshot copies what a batch holds.
func snapshot(b *Batch) Batch {
	c := *b
	c.turns = nil
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && f.CanSet() {
			f.Set(reflect.AppendSlice(reflect.MakeSlice(f.Type(), 0, f.Len()), f))
		}
	}
	return c
}

func TestBatchesDoNotDependOnWhoAsksWhenAndInWhichOrder(t *testing.T) {
	d := randomDataset(4, 200)
	w := what(6, 5)
	const steps = 20
	want := map[[2]int]Batch{}
	s := sampler(t, d, w)
	var b Batch
	for step := range steps {
		for shard := range w.Shards {
			s.Batch(&b, stepOf(step), shardOf(shard))
			want[[2]int{step, shard}] = snapshot(&b)
		}
	}
	other := sampler(t, d, w)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var b Batch
			for i := range steps * w.Shards {
				i = (i*(2*g+7) + g) % (steps * w.Shards) // 7, 9, 11, 13: some skip, all jump between epochs
				key := [2]int{i / w.Shards, i % w.Shards}
				other.Batch(&b, stepOf(key[0]), shardOf(key[1]))
				if got := snapshot(&b); !reflect.DeepEqual(got, want[key]) {
					t.Errorf("step %d, shard %d: differs", key[0], key[1])
				}
			}
		})
	}
	wg.Wait()
	changed := w
	changed.Seed++
	sampler(t, d, changed).Batch(&b, 0, 0)
	if reflect.DeepEqual(snapshot(&b).User, want[[2]int{0, 0}].User) {
		t.Error("another seed gives the same users")
	}
}

func TestBatchDoesNotAllocate(t *testing.T) {
	d := randomDataset(6, 300)
	s := sampler(t, d, what(3, 8))
	var b Batch
	run := func() {
		for step := range int(s.StepsPerEpoch()) * 2 {
			for shard := range 3 {
				s.Batch(&b, stepOf(step), shardOf(shard))
			}
		}
	}
	if n := testing.AllocsPerRun(3, run); n != 0 { // it runs once before it counts
		t.Errorf("%g allocations, want none after the first run", n)
	}
}

func TestAuditDoesNotAllocate(t *testing.T) {
	s := sampler(t, randomDataset(6, 300), what(3, 8))
	run := func() {
		if _, err := s.Audit(t.Context(), ringleader.Step(2*s.StepsPerEpoch())); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(3, run); n != 0 {
		t.Errorf("%g allocations in %d steps of 3 shards, want none", n, 2*s.StepsPerEpoch())
	}
}

func TestPermuteIsCounterPerm(t *testing.T) {
	var p []int32
	for n := range 40 {
		if p = permute(p, uint64(n), n); !slices.Equal(p, counter.Perm(uint64(n), n)) {
			t.Errorf("n %d: %v, want %v", n, p, counter.Perm(uint64(n), n))
		}
	}
}

func TestLedger(t *testing.T) {
	d := randomDataset(8, 150)
	w := what(4, 6)
	s := sampler(t, d, w)
	var b Batch
	var sum uint64
	for shard := range w.Shards { // in another order than the audit's
		for step := range 25 {
			s.Batch(&b, stepOf(step), shardOf(shard))
			if s.LedgerOf(&b) != s.Ledger(stepOf(step), shardOf(shard)) {
				t.Fatalf("step %d, shard %d: batch and formula differ", step, shard)
			}
			for _, u := range b.User {
				sum += LedgerHash(d.UserHash(int(u)), stepOf(step))
			}
		}
	}
	got, err := s.Audit(context.Background(), 25)
	if err != nil || got != sum {
		t.Errorf("audit %x, %v: want %x", got, err, sum)
	}
	if early, _ := s.Audit(context.Background(), 24); early == sum {
		t.Error("a step more does not change the ledger")
	}
	// The same users at other steps, or one user twice instead of another, is another ledger.
	s.Batch(&b, 0, 0)
	shifted := b
	shifted.Step = 1
	if s.LedgerOf(&shifted) == s.LedgerOf(&b) {
		t.Error("the ledger does not tell steps apart")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Audit(ended, 5); err == nil {
		t.Error("audit goes on after its context's end")
	}
}

func TestSamplerRefuses(t *testing.T) {
	d := randomDataset(1, 50)
	for text, change := range map[string]func(*job.What){
		"shards 0":            func(w *job.What) { w.Shards = 0 },
		"users_per_shard 0":   func(w *job.What) { w.UsersPerShard = 0 },
		"model.window 0":      func(w *job.What) { w.Model.Window = 0 },
		"loss.horizon_days 0": func(w *job.What) { w.Loss.HorizonDays = 0 },
		"negatives -1":        func(w *job.What) { w.Negatives.InBatch = -1 },
		"negatives.random 13": func(w *job.What) { w.Negatives.Random = 13 },
		"span 45 days":        func(w *job.What) { w.Loss.HorizonDays = 45.01 },
		"no user can train":   func(w *job.What) { w.Loss.HorizonDays = 1e-9 },
	} {
		w := what(2, 2)
		change(&w)
		if _, err := NewSampler(d, w); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestHoldoutIsAFunctionOfIDAndFraction(t *testing.T) {
	held, n := 0, 20000
	for u := range n {
		id := string(rune('a'+u%26)) + string(rune('A'+u/26%26)) + string(rune('0'+u/676))
		small, large := HeldoutID(id, .1), HeldoutID(id, .25)
		if small && !large {
			t.Fatalf("%q is held out at .1 and not at .25", id)
		}
		if large {
			held++
		}
	}
	if share := float64(held) / float64(n); math.Abs(share-.25) > .02 {
		t.Errorf("%.3f are held out, want .25", share)
	}
	if HeldoutID("x", 0) {
		t.Error("held out at 0")
	}
}
