package evaluation

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// Two users that are evaluated, and one of each kind that is not, over 12 items.
func TestEvaluateByHand(t *testing.T) {
	d := toy(t, 12, .999999,
		// A: five actions up to the cut, one of them at the cut itself; targets 3, 3, 0 (seen before), not 4 (a view), nor 5 (too late).
		[]action{{0, -9, 0}, {1, -8, 1}, {1, -7, 0}, {2, -6, 0}, {2, 0, 0}, {0, 1, 0}, {3, 1, 0}, {3, 13, 0}, {4, 13, 1}, {5, 15, 0}},
		// B: targets only what it had before; the last one at the window's very end.
		[]action{{0, -9, 0}, {0, -8, 0}, {0, -7, 0}, {0, -6, 0}, {0, -5, 0}, {0, 14, 0}},
		// C: four actions are too few. D: no positive in the window.
		[]action{{0, -9, 0}, {0, -8, 0}, {0, -7, 0}, {0, -6, 0}, {1, 1, 0}},
		[]action{{0, -9, 0}, {0, -8, 0}, {0, -7, 0}, {0, -6, 0}, {0, -5, 1}, {1, 1, 1}, {1, 15, 0}},
	)
	p := populate(d, 5)
	if len(p.members) != 3 || p.evaluated != 2 {
		t.Fatalf("members %+v, %d evaluated", p.members, p.evaluated)
	}
	if !slices.Equal(p.members[0].targets, []int32{0, 3, 3}) || !slices.Equal(p.members[1].targets, []int32{0}) || p.members[2].targets != nil {
		t.Fatalf("members %+v", p.members)
	}
	// A: item 3 shares places 10 and 11 with item 9, so 1/2 twice; item 0 is best. Without history (0, 1, 2) nine items are left: 3 is sure.
	a := []float64{9, 8, 8, 1, 7, 7, 7, 7, 7, 1, 7, 0}
	// B: item 0 is 11th.
	b := []float64{1, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0}
	got := evaluated(t, p, tabled{a, b, b}, 2)
	recall := (1 + .5 + .5) / 3 / 2
	if f := got.Figures; f.RecallAt10 != round(recall) || f.Users != 2 || f.Positives != 4 || f.Entropy != nil {
		t.Errorf("all: %+v, want recall %g", f, recall)
	}
	if f := got.NewOnly; f.RecallAt10 != 1 || f.Users != 1 || f.Positives != 2 {
		t.Errorf("new only: %+v", f)
	}
	if got.NewOnly.HitRateAt10 != 1 || got.NewOnly.NDCGAt10 != round((1/math.Log2(8)+1/math.Log2(9))/2) {
		t.Errorf("new only: %+v", got.NewOnly) // item 3 is one target, shares places 7 and 8 with item 9
	}
	// Shown to A (ties by number): 0-8 and 10; to B and D: 1-10. The nine items 1-8 and 10 are 27 of the 30: 9 of 12.
	if want := .75; got.Coverage != want {
		t.Errorf("coverage %g, want %g", got.Coverage, want)
	}
}

// reference is the protocol, written down again without any of the code above.
func reference(p *population, scores [][]float64, fresh bool) (recall float64, users, positives int) {
	d, meta := p.data, p.data.Meta()
	for k, m := range p.members {
		q := d.User(int(m.user))
		seen := map[int32]bool{}
		var targets []int32
		for i, item := range q.Item {
			if q.TimeMS[i] <= meta.CutMS {
				seen[item] = true
			} else if meta.Positive[q.Action[i]] && float64(q.TimeMS[i]-meta.CutMS) <= meta.EvalDays*24*3600*1000 && d.Heldout(int(m.user)) && (!fresh || !seen[item]) {
				targets = append(targets, item)
			}
		}
		if len(targets) == 0 {
			continue
		}
		sum := 0.0
		for _, target := range targets {
			better, equal := 0.0, 0.0
			for item := range int32(meta.Items) {
				if item == target || fresh && seen[item] {
					continue
				}
				if scores[k][item] > scores[k][target] {
					better++
				} else if scores[k][item] == scores[k][target] {
					equal++
				}
			}
			sum += math.Max(0, math.Min(1, (10-better)/(equal+1)))
		}
		recall += sum / float64(len(targets))
		users++
		positives += len(targets)
	}
	return recall / float64(users), users, positives
}

func TestEvaluateAgainstReference(t *testing.T) {
	for _, o := range []synth.Options{{Seed: 1}, {Seed: 2, Items: 40, Actions: 60, Holdout: .6}, {Seed: 3, Items: 300, Users: 90}} {
		d := synthetic(t, o)
		p := populate(d, 5)
		r := rand.New(rand.NewPCG(o.Seed, 0))
		scores := make(tabled, len(p.members))
		for k := range scores {
			scores[k] = make([]float64, p.items)
			for i := range scores[k] {
				scores[k][i] = float64(r.IntN(30)) // many ties
			}
			for _, target := range p.members[k].targets {
				scores[k][target] += float64(r.IntN(12))
			}
		}
		got := evaluated(t, p, scores, 3)
		for fresh, f := range map[bool]Figures{false: got.Figures, true: got.NewOnly.Figures} {
			recall, users, positives := reference(p, scores, fresh)
			if math.Abs(f.RecallAt10-recall) > 1e-6 || f.Users != users || f.Positives != positives || users == 0 {
				t.Errorf("seed %d, fresh %t: %+v, want %g of %d users, %d positives", o.Seed, fresh, f, recall, users, positives)
			}
			if f.Interval[0] > recall || f.Interval[1] < recall || f.Interval[0] == f.Interval[1] {
				t.Errorf("seed %d, fresh %t: recall %g, interval %v", o.Seed, fresh, recall, f.Interval)
			}
		}
		alone := evaluated(t, p, scores, 1)
		if *alone.Entropy != *got.Entropy || *alone.NewOnly.Entropy != *got.NewOnly.Entropy || *got.Entropy <= 0 {
			t.Errorf("entropies %g, %g", *alone.Entropy, *got.Entropy)
		}
		alone.Entropy, alone.NewOnly.Entropy = got.Entropy, got.NewOnly.Entropy
		if alone != got {
			t.Errorf("one thread:    %+v\nthree threads: %+v", alone, got)
		}
	}
}

// gainReference is HR@10 and NDCG@10 by looking at the sorted list, for scores without ties.
func gainReference(p *population, scores [][]float64) (hit, ndcg float64) {
	d, meta := p.data, p.data.Meta()
	users := 0.0
	for k, m := range p.members {
		q := d.User(int(m.user))
		seen, relevant := map[int32]bool{}, map[int32]bool{}
		for i, item := range q.Item {
			if q.TimeMS[i] <= meta.CutMS {
				seen[item] = true
			} else if meta.Positive[q.Action[i]] && float64(q.TimeMS[i]-meta.CutMS) <= meta.EvalDays*24*3600*1000 && d.Heldout(int(m.user)) && !seen[item] {
				relevant[item] = true
			}
		}
		if len(relevant) == 0 {
			continue
		}
		var list []int32
		for item := range int32(meta.Items) {
			if !seen[item] {
				list = append(list, item)
			}
		}
		slices.SortFunc(list, func(a, b int32) int { return cmp.Compare(scores[k][b], scores[k][a]) })
		gain, best, any := 0.0, 0.0, 0.0
		for place, item := range list[:min(10, len(list))] {
			if relevant[item] {
				gain, any = gain+1/math.Log2(2+float64(place)), 1
			}
			if place < len(relevant) {
				best += 1 / math.Log2(2+float64(place))
			}
		}
		hit, ndcg, users = hit+any, ndcg+gain/best, users+1
	}
	return hit / users, ndcg / users
}

func TestGainAgainstReference(t *testing.T) {
	for _, o := range []synth.Options{{Seed: 4, Users: 80}, {Seed: 5, Users: 80, Items: 40, Actions: 60, Holdout: .6}} {
		d := synthetic(t, o)
		p := populate(d, 5)
		r := rand.New(rand.NewPCG(o.Seed, 0))
		scores := make(tabled, len(p.members))
		for k := range scores {
			scores[k] = make([]float64, p.items)
			for i := range scores[k] {
				scores[k][i] = r.Float64()
			}
			for _, target := range p.members[k].targets {
				scores[k][target] += .2 * r.Float64()
			}
		}
		hit, ndcg := gainReference(p, scores)
		got := evaluated(t, p, scores, 2).NewOnly
		if math.Abs(got.HitRateAt10-hit) > 1e-6 || math.Abs(got.NDCGAt10-ndcg) > 1e-6 || ndcg <= 0 || ndcg >= 1 {
			t.Errorf("seed %d: HR %g, NDCG %g; want %g, %g", o.Seed, got.HitRateAt10, got.NDCGAt10, hit, ndcg)
		}
	}
}

func TestPopulationIsThinnedEvenly(t *testing.T) {
	p := &population{}
	for u := range 3 * mostPopulation {
		m := member{user: int32(u)}
		if u%5 == 0 {
			m.targets = []int32{1}
			p.evaluated++
		}
		p.members = append(p.members, m)
	}
	p.thin(mostPopulation)
	if len(p.members) != mostPopulation {
		t.Fatalf("%d members", len(p.members))
	}
	evaluated, firstHalf := 0, 0
	for i, m := range p.members {
		if i > 0 && m.user <= p.members[i-1].user {
			t.Fatal("order changed")
		}
		if len(m.targets) > 0 {
			evaluated++
		} else if m.user < 3*mostPopulation/2 {
			firstHalf++
		}
	}
	defer func() {
		if p.thin(1); len(p.members) != evaluated {
			t.Errorf("at most 1: %d members, want the %d that are evaluated", len(p.members), evaluated)
		}
	}()
	if others := mostPopulation - evaluated; evaluated != p.evaluated || firstHalf < others/2-2 || firstHalf > others/2+2 {
		t.Errorf("%d of %d evaluated, %d of %d others from the first half", evaluated, p.evaluated, firstHalf, others)
	}
}

func TestEvaluateRefusesBadScores(t *testing.T) {
	p := populate(synthetic(t, synth.Options{Users: 30}), 5)
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		scores := make(same, p.items)
		scores[7] = x
		if _, err := evaluate(t.Context(), p, scores, 2); err == nil || !strings.Contains(err.Error(), "score of item 7") {
			t.Errorf("%g: %v", x, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := evaluate(ctx, p, make(same, p.items), 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
