package evaluation

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset/synth"
)

func TestMomentsByHand(t *testing.T) {
	d := toy(t, 9, .999999, []action{
		{0, -9, 0}, {0, -8, 0}, {0, -7, 0}, {0, -6, 0}, {0, 0, 0},
		{1, .25, 0}, {2, .25, 0}, // one time: not each other's past
		{3, .5, 1},             // a view, which the next one may know
		{4, 1, 0},              // the first day's very end
		{5, 1.5, 0}, {6, 4, 0}, // the fourth day's end: no refresh in between brings anything but 5
		{7, 4.25, 0},
	})
	p := populate(d, 5)
	at := func(day float64) int64 { return toyCut + int64(day*dayMS) }
	for s, want := range map[Staleness][]moment{
		Once:     {{0, at(0), []int32{1, 2, 4, 5, 6, 7}}},
		Daily:    {{0, at(0), []int32{1, 2, 4}}, {0, at(1), []int32{5}}, {0, at(3), []int32{6}}, {0, at(4), []int32{7}}},
		Realtime: {{0, at(.25) - 1, []int32{1, 2}}, {0, at(1) - 1, []int32{4}}, {0, at(1.5) - 1, []int32{5}}, {0, at(4) - 1, []int32{6}}, {0, at(4.25) - 1, []int32{7}}},
	} {
		if got := p.moments(s); !slices.EqualFunc(got, want, func(a, b moment) bool {
			return a.member == b.member && a.endMS == b.endMS && slices.Equal(a.targets, b.targets)
		}) {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}

// staleReference is the protocol again: each target is looked for by a model that is asked for this target alone.
func staleReference(t *testing.T, p *population, e *embedder, s Staleness, fresh bool) (recall float64, users, positives int) {
	d, meta := p.data, p.data.Meta()
	for u := range d.Users() {
		q := d.User(u)
		seen := map[int32]bool{}
		for i, item := range q.Item {
			if q.TimeMS[i] <= meta.CutMS {
				seen[item] = true
			}
		}
		if !d.Heldout(u) || until(q.TimeMS, meta.CutMS) < 5 {
			continue
		}
		sum, n := 0.0, 0
		for i, target := range q.Item {
			age := q.TimeMS[i] - meta.CutMS
			if age <= 0 || age > int64(meta.EvalDays*24*3600*1000) || !meta.Positive[q.Action[i]] || fresh && seen[target] {
				continue
			}
			end := meta.CutMS
			switch s {
			case Daily:
				for end+dayMS < q.TimeMS[i] {
					end += dayMS
				}
			case Realtime:
				end = q.TimeMS[i] - 1
			}
			v, err := e.embed(t.Context(), []int32{int32(u)}, []int64{end})
			check(t, err)
			scores := [][]float64{make([]float64, meta.Items)}
			check(t, v.scores([]int{0}, scores))
			better, equal := 0.0, 1.0
			for item, x := range scores[0] {
				if int32(item) == target || fresh && seen[int32(item)] {
					continue
				}
				if x > scores[0][target] {
					better++
				} else if x == scores[0][target] {
					equal++
				}
			}
			sum += math.Max(0, math.Min(1, (10-better)/equal))
			n++
		}
		if n > 0 {
			recall, users, positives = recall+sum/float64(n), users+1, positives+n
		}
	}
	return recall / float64(users), users, positives
}

func TestStalenessAgainstReference(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 60, Items: 80, Dim: 8, Actions: 120, Ties: .3, Holdout: .4})
	o := untrained(t, d)
	p, err := prepare(&o)
	check(t, err)
	e, err := openEmbedder(&o, p)
	check(t, err)
	defer func() { check(t, e.close()) }()
	recalls := map[float64]bool{}
	for _, s := range allStaleness {
		r, err := stale(t.Context(), p, e, s, 3)
		check(t, err)
		for fresh, got := range map[bool]Recall{false: recallOf(r.all), true: recallOf(r.fresh)} {
			recall, users, positives := staleReference(t, p, e, s, fresh)
			if math.Abs(got.RecallAt10-recall) > 1e-6 || got.Users != users || got.Positives != positives || users == 0 {
				t.Errorf("%s, fresh %t: %+v, want %g of %d users, %d positives", s, fresh, got, recall, users, positives)
			}
		}
		recalls[recallOf(r.all).RecallAt10] = true
	}
	if len(recalls) != len(allStaleness) {
		t.Errorf("staleness makes no difference here: %v", recalls)
	}
}

func TestRunWithStaleness(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 80, Items: 80, Dim: 8, Actions: 60, Holdout: .4})
	o := untrained(t, d)
	o.SkipBaselines, o.Staleness = true, []Staleness{Once, Realtime, Daily, Daily}
	r, err := Run(t.Context(), o)
	check(t, err)
	if len(r.Staleness) != 2 {
		t.Fatalf("%+v", r.Staleness)
	}
	for s, x := range r.Staleness {
		if x.Users != r.Users || x.Positives != r.Positives || x.NewOnly.Positives != r.NewOnly.Positives ||
			math.Abs(x.MinusOnce.RecallAt10-(x.RecallAt10-r.RecallAt10)) > 2e-6 ||
			math.Abs(x.MinusOnce.NewOnly.RecallAt10-(x.NewOnly.RecallAt10-r.NewOnly.RecallAt10)) > 2e-6 {
			t.Errorf("%s: %+v\nonce: %+v", s, x, r.Result)
		}
	}
	want, err := json.Marshal(r)
	check(t, err)
	o.Threads = 1
	again, err := Run(t.Context(), o)
	check(t, err)
	if got, err := json.Marshal(again); err != nil || !bytes.Equal(got, want) {
		t.Errorf("on one thread (%v):\n%s\n%s", err, got, want)
	}
}

func TestStalenessIsChecked(t *testing.T) {
	got, err := ParseStaleness([]string{"daily", "once"})
	if err != nil || !slices.Equal(got, []Staleness{Daily, Once}) {
		t.Errorf("%v, %v", got, err)
	}
	const want = `staleness "hourly": want once, daily or realtime`
	if _, err := ParseStaleness([]string{"once", "hourly"}); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	d := synthetic(t, synth.Options{Users: 30})
	if _, err := Run(t.Context(), Options{Data: d, Staleness: []Staleness{"hourly"}}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// TestPerUser: the users' own recalls are those that the report's figures are means of, in an order that does not depend on the model.
func TestPerUser(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 80, Items: 80, Dim: 8, Actions: 60, Holdout: .4})
	o := untrained(t, d)
	o.SkipBaselines, o.Staleness = true, []Staleness{Realtime}
	r, err := Run(t.Context(), o)
	check(t, err)
	if r.PerUser != nil {
		t.Errorf("nobody asked for %v", r.PerUser)
	}
	o.PerUser = true
	r, err = Run(t.Context(), o)
	check(t, err)
	stale := r.Staleness[Realtime]
	for s, want := range map[Staleness][2]Recall{Once: {r.Recall, r.NewOnly.Recall}, Realtime: {stale.Recall, stale.NewOnly}} {
		got := r.PerUser[s]
		if len(got.All) != want[0].Users || round(mean(got.All)) != want[0].RecallAt10 || len(got.New) != want[1].Users || round(mean(got.New)) != want[1].RecallAt10 {
			t.Errorf("%s: %d users with %g, %d with %g; want %+v", s, len(got.All), mean(got.All), len(got.New), mean(got.New), want)
		}
	}
	// With the same ten items for everybody, a recall is the share of the user's targets among them.
	p, err := prepare(&o)
	check(t, err)
	scores := make(tabled, len(p.members))
	var want []float64
	for k, m := range p.members {
		scores[k] = make([]float64, p.items)
		for i := range scores[k] {
			scores[k][i] = -float64(i)
		}
		if n := len(m.targets); n > 0 {
			best := 0
			for _, i := range m.targets {
				if i < recallAt {
					best++
				}
			}
			want = append(want, float64(best)/float64(n))
		}
	}
	by, err := evaluate(t.Context(), p, scores, 2)
	check(t, err)
	if got := recalls(by.all); !slices.Equal(got, want) {
		t.Errorf("recalls %v, want %v", got, want)
	}
}
