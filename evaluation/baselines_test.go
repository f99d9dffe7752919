package evaluation

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset/synth"
)

func scorersOf(t *testing.T, bs []baseline) map[string]scorer {
	t.Helper()
	m := map[string]scorer{}
	for i, b := range bs {
		if b.name != baselineNames[i] {
			t.Errorf("baseline %d is %s, the table's is %s", i, b.name, baselineNames[i])
		}
		m[b.name] = b.scorer
	}
	return m
}

func score(t *testing.T, s scorer, items int, which ...int) [][]float64 {
	t.Helper()
	dst := make([][]float64, len(which))
	for j := range dst {
		dst[j] = make([]float64, items)
		for i := range dst[j] {
			dst[j][i] = math.NaN() // whatever was there before
		}
	}
	if err := s.scores(which, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

func near(t *testing.T, name string, got, want []float64, tolerance float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tolerance) {
			t.Errorf("%s: scores %v, want %v", name, got, want)
			return
		}
	}
}

func TestBaselinesByHand(t *testing.T) {
	d := toy(t, 5, 0,
		[]action{{0, -40, 0}, {0, -30, 0}, {1, -20, 0}, {4, -3, 1}, {4, 1, 0}}, // the view and what is after the cut do not count
		[]action{{0, -27, 0}, {1, -6, 0}, {1, -5, 0}},
		[]action{{2, -2, 0}, {3, 0, 0}, {0, 3, 0}},
	)
	p := populate(d, 3)
	s := scorersOf(t, newBaselines(d, p))
	near(t, "popular", score(t, s["popular"], 5, 0)[0], []float64{3, 3, 1, 1, 0}, 0)
	near(t, "popular_28d", score(t, s["popular_28d"], 5, 0)[0], []float64{1, 3, 1, 1, 0}, 0)
	near(t, "popular_7d", score(t, s["popular_7d"], 5, 0)[0], []float64{0, 2, 1, 1, 0}, tieScale)
	near(t, "own_repeats", score(t, s["own_repeats"], 5, 1, 0)[1], []float64{2, 1, 0, 0, 0}, tieScale)
	near(t, "own_decayed_45d", score(t, s["own_decayed_45d"], 5, 1)[0], []float64{math.Pow(.5, 27./45), math.Pow(.5, 6./45) + math.Pow(.5, 5./45), 0, 0, 0}, tieScale)
	// Items 0 and 1 met in both of their users: cosine 1. Member 1 has 0 once and 1 twice.
	near(t, "item_knn", score(t, s["item_knn"], 5, 1)[0], []float64{2, 1, 0, 0, 0}, tieScale)
	// Among equals the popular one comes first.
	if own := score(t, s["own_repeats"], 5, 0)[0]; !(own[2] > own[4] && own[2] == own[3]) {
		t.Errorf("ties are not broken by the last 28 days: %v", own)
	}
}

// The straightforward implementations: a matrix of co-occurrences, and counts by going through everybody's actions.
func TestBaselinesAgainstReference(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 150, Items: 60, Actions: 90, Ties: .5})
	p, meta := populate(d, 5), d.Meta()
	n := meta.Items
	together, count := make([][]float64, n), map[float64][]float64{}
	for i := range together {
		together[i] = make([]float64, n)
	}
	spans := []float64{7, 28, 1e6}
	for _, days := range spans {
		count[days] = make([]float64, n)
	}
	for u := range d.Users() {
		if d.Heldout(u) {
			continue
		}
		has := map[int32]bool{}
		q := d.User(u)
		for i, item := range q.Item {
			if q.TimeMS[i] > meta.CutMS || !meta.Positive[q.Action[i]] {
				continue
			}
			has[item] = true
			for _, days := range spans {
				if float64(meta.CutMS-q.TimeMS[i])/dayMS < days {
					count[days][item]++
				}
			}
		}
		for i := range has {
			for j := range has {
				together[i][j]++
			}
		}
	}
	s := scorersOf(t, newBaselines(d, p))
	near(t, "popular", score(t, s["popular"], n, 0)[0], count[1e6], 0)
	near(t, "popular_28d", score(t, s["popular_28d"], n, 0)[0], count[28], 0)
	near(t, "popular_7d", score(t, s["popular_7d"], n, 0)[0], count[7], tieScale)
	long := 0
	for k, m := range p.members {
		knn, own := make([]float64, n), make([]float64, n)
		q := d.User(int(m.user))
		var history []int32
		for i, item := range q.Item {
			if q.TimeMS[i] <= meta.CutMS && meta.Positive[q.Action[i]] {
				own[item]++
				history = append(history, item)
			}
		}
		if len(history) > knnHistory {
			long++
			history = history[len(history)-knnHistory:]
		}
		for _, h := range history {
			for j := range n {
				if int(h) != j && together[h][j] > 0 {
					knn[j] += together[h][j] / math.Sqrt(together[h][h]*together[j][j])
				}
			}
		}
		near(t, "own_repeats", score(t, s["own_repeats"], n, k)[0], own, tieScale)
		near(t, "item_knn", score(t, s["item_knn"], n, k)[0], knn, tieScale+1e-9)
	}
	if long == 0 {
		t.Error("no history is longer than what item_knn looks at")
	}
}

// Baselines must not see what comes after the cut, nor what held-out users did but the one at hand.
func TestBaselinesOnSyntheticData(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 250, Items: 200})
	all, err := Baselines(t.Context(), Options{Data: d})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(baselineNames) {
		t.Errorf("%d baselines", len(all))
	}
	// Users have tastes: who looks at the user's own actions does better than popularity.
	if all["item_knn"].RecallAt10 <= all["popular"].RecallAt10 || all["item_knn"].Coverage <= all["popular"].Coverage {
		t.Errorf("item_knn %+v, popular %+v", all["item_knn"], all["popular"])
	}
	if own := all["own_repeats"]; own.RecallAt10 <= own.NewOnly.RecallAt10 {
		t.Errorf("own repeats find new things: %+v", own)
	}
	again, err := Baselines(t.Context(), Options{Data: d, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	a, errA := json.Marshal(all)
	b, errB := json.Marshal(again)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("two evaluations differ (%v, %v):\n%s\n%s", errA, errB, a, b)
	}
}

func TestNobodyToEvaluate(t *testing.T) {
	d := synthetic(t, synth.Options{Holdout: -1})
	if _, err := Baselines(t.Context(), Options{Data: d}); err == nil {
		t.Error("no error, though nobody is held out")
	}
	if _, err := Run(t.Context(), Options{}); err == nil {
		t.Error("no error without data")
	}
}
