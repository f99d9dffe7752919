package job_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

// Defaults that follow from the objective and the optimizer.
func TestDefaultsOfSwitches(t *testing.T) {
	for _, c := range []struct {
		set    []string
		newest string
		draw   int
		decay  float64
	}{
		{nil, "one", 0, .01},
		{[]string{"what.loss.objective=sasrec"}, "equal", 0, .01},
		{[]string{"what.loss.objective=sasrec", "what.loss.newest_weight=one"}, "one", 0, .01},
		{[]string{"what.loss.newest_weight=equal", "what.loss.weights=pairs"}, "equal", 0, .01},
		{[]string{"what.loss.objective=dense_all_action"}, "one", 32, .01},
		{[]string{"what.loss.objective=dense_all_action", "what.loss.positions=64"}, "one", 64, .01},
		{[]string{"what.loss.objective=dense_all_action", "what.model.preset=tiny"}, "one", 16, .01}, // the whole window
		{[]string{"what.loss.objective=next"}, "one", 0, .01},
		{[]string{"what.loss.objective=all_action", "what.optimizer.name=adam"}, "one", 0, 0},
		{[]string{"what.optimizer.name=adam", "what.optimizer.weight_decay=0"}, "one", 0, 0},
	} {
		w := parse(t, minimal, c.set...).What
		if l := w.Loss; l.NewestWeight != c.newest || l.Positions != c.draw || w.Optimizer.WeightDecay != c.decay {
			t.Errorf("%q: %+v, decay %g; want %+v", c.set, l, w.Optimizer.WeightDecay, c)
		}
	}
}

// Combinations that cannot be, with the reason.
func TestSwitchesThatDoNotGoTogether(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"what.loss.objective=sasrec what.loss.weights=pairs", `what.loss.weights is "pairs"; want seed for the objective sasrec: no user`},
		{"what.loss.objective=dense_all_action what.loss.weights=pairs", "want seed for the objective dense_all_action"},
		{"what.loss.objective=next what.loss.newest_weight=equal", `what.loss.newest_weight is "equal"; want one for the objective next: it does not train every position`},
		{"what.loss.objective=all_action what.loss.newest_weight=equal", "want one for the objective all_action"},
		{"what.loss.objective=dense_all_action what.loss.newest_weight=equal", "want one for the objective dense_all_action"},
		{"what.loss.objective=dense_all_action what.loss.positions=0", "what.loss.positions is 0; want 1 to 64"},
		{"what.loss.objective=dense_all_action what.loss.positions=65", "what.loss.positions is 65; want 1 to 64"},
		{"what.loss.objective=sasrec what.loss.positions=8", "only dense_all_action draws positions"},
		{"what.optimizer.name=adam what.optimizer.weight_decay=0.1", "what.optimizer.weight_decay is 0.1; want 0 for the optimizer adam"},
		{"what.negatives.in_batch=0 what.negatives.random=0", "what.negatives has in_batch 0 and random 0; want at least one negative: what a positive is compared with, and what logq"},
	} {
		_, err := job.Parse([]byte(minimal), "/jobs", strings.Fields(c.set)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got  %v\n want %s", c.set, err, c.want)
		}
	}
	s := parse(t, minimal)
	if err := job.Set(&s, "what.optimizer.name=adam"); err == nil {
		t.Error("adam with the weight decay of a complete job: no error")
	}
}

// Jobs of the first format have neither loss.newest_weight nor loss.positions: they are read as what they did.
func TestJobsFromBeforeTheSwitches(t *testing.T) {
	s := parse(t, minimal)
	text, err := job.Canonical(s)
	if err != nil {
		t.Fatal(err)
	}
	old := bytes.Replace(text, []byte(`"newest_weight":"one",`), nil, 1)
	if len(old) == len(text) || bytes.Contains(old, []byte("positions")) {
		t.Fatalf("not the first format: %s", old)
	}
	if back, err := job.FromCanonical(old); err != nil || back != s {
		t.Errorf("%+v, %v; want %+v", back, err, s)
	}
	equal := parse(t, minimal, "what.loss.newest_weight=equal")
	if one := parse(t, minimal, "what.loss.newest_weight=one"); one.What.Digest() != s.What.Digest() || equal.What.Digest() == s.What.Digest() {
		t.Error("one is another job, or equal the same")
	}
	for _, set := range []string{"what.loss.objective=sasrec", "what.loss.objective=dense_all_action", "what.loss.newest_weight=equal"} {
		s := parse(t, minimal, set)
		text, err := job.Canonical(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := job.FromCanonical(text); err != nil || back != s {
			t.Errorf("%s: %+v, %v; want %+v", set, back, err, s)
		}
	}
}
