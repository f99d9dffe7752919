package reproduction

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

var everything = Columns{Surface: true, Duration: true}

// base is a complete job, as job.Parse would give it.
func base(t *testing.T, assignments ...string) *job.What {
	t.Helper()
	s, err := job.Parse([]byte("name: base\nwhat: {data: /data, seed: 5, steps: 10}\n"), "/", assignments...)
	if err != nil {
		t.Fatal(err)
	}
	return &s.What
}

func tables(t *testing.T, name string, w *job.What, has Columns) []Table {
	t.Helper()
	all, err := Tables(name, w, has)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestNames(t *testing.T) {
	for _, name := range Names() {
		want := 1
		if name == All {
			want = len(Names()) - 1
		}
		if got := tables(t, name, base(t), everything); len(got) != want || name != All && got[0].Name != name {
			t.Errorf("%s: %d tables", name, len(got))
		}
	}
	if got := tables(t, "features,objectives", base(t), everything); len(got) != 2 || got[0].Name != "objectives" {
		t.Errorf("two tables: %+v", got)
	}
	if _, err := Tables("table 3", base(t), everything); err == nil || !strings.Contains(err.Error(), "allowed: objectives, negatives, features, staleness, capacity, all") {
		t.Errorf("an unknown table: %v", err)
	}
}

// TestArms: every arm is a valid job, differs from the other arms of its table in the fields that the table is about, and in no part of the budget.
func TestArms(t *testing.T) {
	about := map[string]func(w *job.What){
		"objectives": func(w *job.What) { w.Loss = job.Loss{} },
		"negatives":  func(w *job.What) { w.Negatives, w.Loss.LogQ = job.Negatives{}, "" },
		"features":   func(w *job.What) { w.Model.Drop, w.Model.Init = job.Drop{}, "" },
		"staleness":  func(w *job.What) { w.Loss = job.Loss{} },
		"capacity":   func(w *job.What) { w.Model = job.Model{} },
	}
	for _, set := range [][]string{nil, {"what.loss.objective=all_action", "what.negatives.in_batch=7", "what.negatives.random=4"},
		{"what.loss.newest_weight=equal", "what.loss.weights=pairs", "what.loss.horizon_days=3", "what.model.layers=1", "what.model.window=3", "what.model.init=normal"}} {
		b := base(t, set...)
		for _, table := range tables(t, All, b, everything) {
			want := *b
			about[table.Name](&want)
			jobs := map[string]string{}
			for _, a := range table.Arms {
				w := base(t, slices.Concat(set, a.Set)...)
				if n := w.Negatives.InBatch + w.Negatives.Random; n != b.Negatives.InBatch+b.Negatives.Random {
					t.Errorf("%s, %s: %d negatives", table.Name, a.Name, n)
				}
				key := w.Digest().String() + a.Staleness
				if jobs[key] != "" {
					t.Errorf("%s: %s and %s are the same", table.Name, jobs[key], a.Name)
				}
				jobs[key] = a.Name
				if about[table.Name](w); *w != want {
					t.Errorf("%s, %s: %+v; want all but what the table is about as in %+v", table.Name, a.Name, *w, want)
				}
			}
			for _, c := range table.Claims {
				for _, name := range slices.Concat(c.More, c.Less) {
					if table.arm(name) == nil {
						t.Errorf("%s: claim %q is about %s, which is no arm", table.Name, c.Text, name)
					}
				}
			}
		}
	}
}

func TestLackingColumns(t *testing.T) {
	with, without := tables(t, "features", base(t), everything)[0], tables(t, "features", base(t), Columns{})[0]
	if len(with.Skipped) != 0 || len(with.Arms) != len(without.Arms)+2 {
		t.Errorf("%d arms with all columns, %d without; skipped %v", len(with.Arms), len(without.Arms), with.Skipped)
	}
	if got := without.Skipped; len(got) != 2 || got[0].Arm != "without_surface" || got[1].Arm != "without_duration" {
		t.Errorf("skipped %v", got)
	}
	for _, c := range without.Claims {
		if strings.Contains(c.Text, "surface") || strings.Contains(c.Text, "duration") {
			t.Errorf("claim %q", c.Text)
		}
	}
}

// TestPublished: the claims are the paper's values, all pairs of them.
func TestPublished(t *testing.T) {
	var got []string
	for _, c := range tables(t, "objectives", base(t), everything)[0].Claims {
		if !c.Ours && !c.Coverage {
			got = append(got, c.Text)
		}
	}
	want := []string{"dense > next", "all_action > next", "dense_half > next", "dense > sasrec", "all_action > sasrec", "dense_half > sasrec", "sasrec > next",
		"dense > dense_half", "dense > all_action", "all_action > dense_half"}
	if !slices.Equal(got, want) {
		t.Errorf("claims %q\nwant %q", got, want)
	}
	coverage := 0
	for _, c := range tables(t, "negatives", base(t), everything)[0].Claims {
		if c.Coverage && c.Text == "mixed_on > random_on" && c.Paper == .041 {
			coverage++
		}
	}
	if coverage != 1 {
		t.Error("no claim that random negatives collapse coverage")
	}
}

func TestOnly(t *testing.T) {
	table := tables(t, "objectives", base(t), everything)[0]
	if err := table.Only([]string{"dense", "bogus"}); err == nil || !strings.Contains(err.Error(), "next, sasrec, all_action") {
		t.Errorf("an unknown arm: %v", err)
	}
	if err := table.Only([]string{"dense", "sasrec"}); err != nil {
		t.Fatal(err)
	}
	if len(table.Arms) != 2 || len(table.Claims) != 2 || table.Claims[0].Text != "dense > sasrec" || !table.Claims[1].Coverage {
		t.Errorf("arms %+v, claims %+v", table.Arms, table.Claims)
	}
}

// runs are an arm's, of users whose recalls are level plus a part of their own plus noise of the seed and user; spread is that of the seeds.
func runs(level, spread float64, users int, coverage ...float64) []Run {
	var all []Run
	for s := range 3 {
		x := make([]float64, users)
		for u := range x {
			x[u] = level + .3*math.Sin(float64(u*u)) + spread*float64(s-1) + .01*math.Sin(float64(7*u+s))
		}
		r := Run{Seed: uint64(s + 1), All: Sample{Recalls: x}, New: Sample{Recalls: x[:users/2]}}
		if len(coverage) > 0 {
			r.All.Coverage = coverage[s]
		}
		all = append(all, r)
	}
	return all
}

// TestVerdicts: users who differ much from one another hide nothing, because they are paired; seeds that disagree do.
func TestVerdicts(t *testing.T) {
	coverage := more("a", "b")
	coverage.Coverage = true
	for _, c := range []struct {
		name  string
		claim Claim
		a, b  []Run
		want  Verdict
	}{
		{"clearly more", more("a", "b"), runs(.52, .001, 300), runs(.5, 0, 300), Held},
		{"clearly less", more("a", "b"), runs(.48, .001, 300), runs(.5, 0, 300), Failed},
		{"equal", more("a", "b"), runs(.5, 0, 300), runs(.5, 0, 300), CantTell},
		{"seeds disagree", more("a", "b"), runs(.51, .02, 300), runs(.5, 0, 300), CantTell},
		{"one seed", more("a", "b"), runs(.6, 0, 300)[:1], runs(.5, 0, 300)[:1], CantTell},
		{"coverage, apart", coverage, runs(0, 0, 9, .3, .2, .4), runs(0, 0, 9, .1, .1, .19), Held},
		{"coverage, the other way", coverage, runs(0, 0, 9, .1, .1, .19), runs(0, 0, 9, .3, .2, .4), Failed},
		{"coverage, overlapping", coverage, runs(0, 0, 9, .3, .2, .4), runs(0, 0, 9, .1, .1, .21), CantTell},
		{"coverage, two seeds", coverage, runs(0, 0, 9, .3, .2, .4)[:2], runs(0, 0, 9, .1, .1, .1)[:2], CantTell},
	} {
		o, err := Judge(Table{Arms: []Arm{{Name: "a"}, {Name: "b"}}, Claims: []Claim{c.claim}}, map[string][]Run{"a": c.a, "b": c.b})
		if err != nil {
			t.Fatal(err)
		}
		if got := o.Judged[0].All; got.Verdict != c.want {
			t.Errorf("%s: %+v, want %s", c.name, got, c.want)
		}
	}
}

// TestContrast: a claim about four arms is the difference of two differences.
func TestContrast(t *testing.T) {
	arms := map[string][]Run{"a": runs(.5, .1, 50), "b": runs(.4, .1, 50), "c": runs(.7, 0, 50), "d": runs(.65, 0, 50)}
	claim := Claim{More: []string{"a", "d"}, Less: []string{"b", "c"}}
	o, err := Judge(Table{Claims: []Claim{claim}}, arms)
	if err != nil {
		t.Fatal(err)
	}
	if d := o.Judged[0].New; d.Mean != .05 || d.Interval != [2]float64{.05, .05} || d.Verdict != Held {
		t.Errorf("difference %+v, want .05 for every user and seed", d)
	}
}

// TestBootstrapAgainstTheory: the interval of independent users and seeds is about 2 x 1.96 standard errors wide.
func TestBootstrapAgainstTheory(t *testing.T) {
	const users = 400
	var x [][]float64
	for s := range 5 {
		row := make([]float64, users)
		for u := range row {
			row[u] = math.Sin(float64(3*u*u)) + .2*float64(s-2) // variance 1/2 over users, .2*.2*2.5 over seeds
		}
		x = append(x, row)
	}
	_, interval, _ := summarise(x)
	want := 2 * 1.96 * math.Sqrt(.5/users+.1/5)
	if got := interval[1] - interval[0]; math.Abs(got/want-1) > .15 {
		t.Errorf("interval %v is %.3f wide, want about %.3f", interval, got, want)
	}
}

func TestJudgeRefuses(t *testing.T) {
	good := runs(.5, 0, 10)
	for name, bad := range map[string][]Run{"another seed": {good[0], good[1], {Seed: 9, All: good[2].All, New: good[2].New}}, "fewer seeds": good[:2], "other users": runs(.5, 0, 11), "none": nil} {
		if _, err := Judge(Table{}, map[string][]Run{"a": good, "b": bad}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
