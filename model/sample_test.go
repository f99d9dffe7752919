package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
)

// numbered is a random batch whose positives are numbered: targets then say which positive they are.
func numbered(rng *rand.Rand, m *Model, lengths ...int) *dataset.Batch {
	b := randomBatch(rng, m, lengths...)
	for j := range b.PosItem {
		b.PosItem[j] = int32(j)
	}
	return b
}

// eligible are the positives that a token may draw, by definition: those of its horizon, or of the nearest later time.
func eligible(b *dataset.Batch, u int, m int32, next bool, horizon int64) []int32 {
	now, nearest := b.TimeMS[m], int64(math.MaxInt64)
	var later []int32
	for j := b.PosOffset[u]; j < b.PosOffset[u+1]; j++ {
		if t := b.PosTimeMS[j]; t > now && (next || t <= now+horizon) {
			later, nearest = append(later, j), min(nearest, t)
		}
	}
	return slices.DeleteFunc(later, func(j int32) bool { return next && b.PosTimeMS[j] != nearest })
}

// What the sampled objectives draw is what they say, from where they say, and as much; a user's weights add up to 1.
func TestSampledTargets(t *testing.T) {
	for _, c := range []struct {
		loss         job.Loss
		newest, next bool
		labels       int
	}{
		{job.Loss{Objective: objectiveNext, NewestWeight: newestOne}, true, true, 1},
		{job.Loss{Objective: objectiveSASRec, NewestWeight: newestOne}, false, true, 1},
		{job.Loss{Objective: objectiveSASRec, NewestWeight: newestEqual}, false, true, 1},
		{job.Loss{Objective: objectiveAllAction, NewestWeight: newestOne}, true, false, 32},
		{job.Loss{Objective: objectiveDense, NewestWeight: newestOne, Positions: 2}, false, false, 1},
	} {
		w := tinyWhat()
		w.Loss.Objective, w.Loss.NewestWeight, w.Loss.Positions = c.loss.Objective, c.loss.NewestWeight, c.loss.Positions
		m, err := New(w, tinyMeta())
		if err != nil {
			t.Fatal(err)
		}
		var g goal
		for seed := range uint64(200) {
			rng := random(seed)
			b := numbered(rng, m, rng.IntN(6), 1+rng.IntN(5), rng.IntN(3))
			users := g.aim(b, m)
			end := int32(0) // of the targets so far
			for u := range b.User {
				valid, drawn, last := 0, 0, b.Offset[u+1]-1
				for k := b.Offset[u]; k <= last; k++ {
					if g.lo[k] != end || g.hi[k] < end || int(g.hi[k]) > len(g.target) {
						t.Fatalf("%+v, seed %d, token %d: targets %d to %d, the last ended at %d", c, seed, k, g.lo[k], g.hi[k], end)
					}
					end = g.hi[k]
					from := eligible(b, u, k, c.next, m.horizon)
					if c.newest && k != last {
						from = nil
					}
					mine := g.target[g.lo[k]:end]
					want := min(c.labels, len(from))
					if valid += btoi(want > 0); w.Loss.Positions > 0 && len(mine) == 0 {
						want = 0
					}
					drawn += btoi(len(mine) > 0)
					if len(mine) != want || !slices.IsSorted(mine) || len(slices.Compact(slices.Clone(mine))) != len(mine) {
						t.Fatalf("%+v, seed %d, token %d: drew %v, want %d of %v", c, seed, k, mine, want, from)
					}
					for _, j := range mine {
						if !slices.Contains(from, j) {
							t.Fatalf("%+v, seed %d, token %d: drew %v of %v", c, seed, k, mine, from)
						}
					}
				}
				if p := w.Loss.Positions; p > 0 && drawn != min(p, valid) {
					t.Fatalf("%+v, seed %d, user %d: %d positions of %d", c, seed, u, drawn, valid)
				}
				if drawn > 0 {
					checkWeights(t, &g, b, u, c.loss.NewestWeight)
					users--
				}
			}
			if users != 0 {
				t.Fatalf("%+v, seed %d: %d users too many have a target", c, seed, users)
			}
		}
	}
}

func checkWeights(t *testing.T, g *goal, b *dataset.Batch, u int, newest string) {
	t.Helper()
	sum, last, tokens := 0.0, 0.0, 0
	for k := b.Offset[u]; k < b.Offset[u+1]; k++ {
		last = float64(g.weight[k]) * float64(g.hi[k]-g.lo[k])
		sum += last
		tokens += btoi(last > 0)
	}
	want := 1 / float64(tokens)
	if newest == newestEqual && tokens > 1 {
		want = .5
	}
	if math.Abs(sum-1) > 1e-6 || last > 0 && math.Abs(last-want) > 1e-6 {
		t.Fatalf("user %d: weights add up to %v, %v of it for the newest token; want 1 and %v", u, sum, last, want)
	}
}

// Over many steps each target weighs on average what it should: for dense_all_action, which samples it, what it weighs in the exact loss.
func TestSampledTargetsInExpectation(t *testing.T) {
	for _, c := range []struct {
		objective string
		positions int
	}{{objectiveNext, 0}, {objectiveSASRec, 0}, {objectiveAllAction, 0}, {objectiveDense, 1}, {objectiveDense, 3}} {
		t.Run(fmt.Sprint(c.objective, c.positions), func(t *testing.T) {
			w := tinyWhat()
			w.Loss.Objective, w.Loss.Positions, w.Loss.HorizonDays = c.objective, c.positions, 4
			m, err := New(w, tinyMeta())
			if err != nil {
				t.Fatal(err)
			}
			b := ladder()
			want := expectation(b, m, c.objective)
			const steps = 4000
			var g goal
			got := map[[2]int32]float64{} // by token and target
			squares := map[[2]int32]float64{}
			for step := range steps {
				b.Step = ringleader.Step(step)
				g.aim(b, m)
				for k := range g.lo {
					for _, j := range g.target[g.lo[k]:g.hi[k]] {
						x := float64(g.weight[k])
						got[[2]int32{int32(k), j}] += x / steps
						squares[[2]int32{int32(k), j}] += x * x / steps
					}
				}
			}
			for pair, mean := range got {
				sd := math.Sqrt(max(squares[pair]-mean*mean, 0) / steps)
				if math.Abs(mean-want[pair]) > 5*sd+1e-6 {
					t.Errorf("token %d, target %d: weighs %.5f on average, want %.5f +- %.5f", pair[0], pair[1], mean, want[pair], sd)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d pairs were drawn, want %d", len(got), len(want))
			}
		})
	}
}

// ladder is a user of 5 tokens 4 hours apart with 60 positives 2 hours apart, the first 4 of them at one time, and another with few.
func ladder() *dataset.Batch {
	b := &dataset.Batch{Shard: 1, User: []int32{0, 1}, Offset: []int32{0, 5, 7}}
	const start = 1_700_000_000_000
	for i := range int64(7) {
		b.TimeMS = append(b.TimeMS, start+i%5*4*hourMS)
	}
	b.Item = make([]int32, 7)
	for j := range int64(60) {
		b.PosTimeMS = append(b.PosTimeMS, start+max(3, j)*2*hourMS)
	}
	b.PosTimeMS = append(b.PosTimeMS, start+hourMS, start+50*hourMS, start+50*hourMS)
	b.PosOffset = []int32{0, 60, 63}
	for j := range int32(63) {
		b.PosItem = append(b.PosItem, j)
	}
	return b
}

// expectation is the mean weight of every pair, by definition.
func expectation(b *dataset.Batch, m *Model, objective string) map[[2]int32]float64 {
	want := map[[2]int32]float64{}
	next := objective == objectiveNext || objective == objectiveSASRec
	for u := range b.User {
		var tokens []int32
		for k := b.Offset[u]; k < b.Offset[u+1]; k++ {
			newestOnly := objective == objectiveNext || objective == objectiveAllAction
			if (!newestOnly || k == b.Offset[u+1]-1) && len(eligible(b, u, k, next, m.horizon)) > 0 {
				tokens = append(tokens, k)
			}
		}
		for _, k := range tokens {
			from := eligible(b, u, k, next, m.horizon)
			for _, j := range from {
				want[[2]int32{k, j}] = 1 / float64(len(tokens)*len(from))
			}
		}
	}
	return want
}

// Draws are a function of (seed, step, shard) and the batch, and of each of these.
func TestDrawsAreKeyed(t *testing.T) {
	w := tinyWhat()
	w.Loss.Objective, w.Loss.Positions = objectiveDense, 3
	draw := func(seed uint64, step ringleader.Step, shard ringleader.Shard) string {
		w.Seed = seed
		m, err := New(w, tinyMeta())
		if err != nil {
			t.Fatal(err)
		}
		b := ladder()
		b.Step, b.Shard = step, shard
		var g goal
		g.aim(b, m)
		return fmt.Sprint(g.lo, g.hi, g.target)
	}
	base := draw(1, 2, 3)
	if base != draw(1, 2, 3) {
		t.Error("the same draw again differs")
	}
	if base == draw(9, 2, 3) || base == draw(1, 9, 3) || base == draw(1, 2, 9) {
		t.Error("another seed, step or shard draws the same")
	}
}

// A choice picks every set equally often, and exactly as many as asked for.
func TestChoice(t *testing.T) {
	const rounds = 20_000
	d := draws{key: 5}
	count := map[string]int{}
	for range rounds {
		c := choice{pick: 2, see: 5}
		set := ""
		for i := range 5 {
			if c.next(&d) {
				set += string(rune('0' + i))
			}
		}
		count[set]++
	}
	if len(count) != 10 {
		t.Errorf("sets %v, want the 10 pairs of 5", count)
	}
	for set, n := range count {
		if len(set) != 2 || math.Abs(float64(n)-rounds/10) > 5*math.Sqrt(rounds*.1*.9) {
			t.Errorf("%q came %d times of %d", set, n, rounds)
		}
	}
	before := d.i
	all, none := choice{pick: 9, see: 3}, choice{pick: 0, see: 3}
	for range 3 {
		if !all.next(&d) || none.next(&d) {
			t.Error("all and none are not all and none")
		}
	}
	if d.i != before {
		t.Error("drew where there is nothing to choose")
	}
}
