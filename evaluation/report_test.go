package evaluation

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func sample() *Report {
	model := Result{
		Figures: Figures{Recall: Recall{.25, [2]float64{.2, .3}, 40, 90}, Coverage: .125},
		NewOnly: NewFigures{Figures{Recall: Recall{.05, [2]float64{.01, .09}, 30, 50}, Coverage: .25}, .375, .0625},
	}
	own := Result{ModelMinus: &Lead{Difference{-.05, [2]float64{-.08, -.02}}, Difference{.01, [2]float64{-.01, .03}}}}
	own.RecallAt10, own.Interval = .3, [2]float64{.26, .34}
	popular := Result{ModelMinus: &Lead{Difference{.15, [2]float64{.11, .19}}, Difference{.02, [2]float64{.01, .03}}}}
	popular.RecallAt10 = .1
	return &Report{
		Protocol: protocol, Data: "retail", Cut: "2017-11-15T00:00:00Z", EvalDays: 14, MinHistory: 5, Items: 1000, Result: model,
		Baselines: map[string]Result{"own_repeats": own, "popular": popular, "another": {}},
		Staleness: map[Staleness]StaleResult{
			Realtime: {Recall{.35, [2]float64{.3, .4}, 40, 90}, Recall{.07, [2]float64{.02, .12}, 30, 50}, Lead{Difference{.1, [2]float64{.08, .12}}, Difference{.02, [2]float64{0, .04}}}},
			Daily:    {Recall: Recall{.3, [2]float64{.25, .35}, 40, 90}},
		},
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().Text(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	at := -1
	for _, want := range []string{
		"Recall@10 on retail: 40 users, 90 targets in the 14 days after 2017-11-15T00:00:00Z, 1000 items",
		"new only", "model", "0.2500  0.2000-0.3000  0.1250    0.0500    0.0100-0.0900  0.2500", "popular ", "own_repeats ", "another ",
		"30 of the users, with 50 targets, did something new.",
		"new only", "HR@10", "model ", "0.3750  0.0625   -", "popular ", "+0.1100 to +0.1900", "+0.0100 to +0.0300", "own_repeats ", "-0.0800 to -0.0200", "-0.0100 to +0.0300",
		"once ", "0.2500  0.2000-0.3000  -", "daily ", "realtime ", "0.3500  0.3000-0.4000  +0.0800 to +0.1200  0.0700", "own repeats is the strongest baseline",
	} {
		next := strings.Index(text[at+1:], want)
		if next < 0 {
			t.Fatalf("%q is missing or out of order in\n%s", want, text)
		}
		at += 1 + next
	}
	for line := range strings.Lines(text) {
		if len(line) > 121 || strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
			t.Errorf("line of %d characters, or spaces at its end: %q", len(line), line)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestTextReportsErrors(t *testing.T) {
	if err := sample().Text(broken{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("got %v", err)
	}
}

// The keys are what others read: they stay.
func TestReportJSON(t *testing.T) {
	text, err := json.Marshal(sample())
	check(t, err)
	var got any
	check(t, json.Unmarshal(text, &got))
	for path, want := range map[string]any{
		"recall_at_10": .25, "interval.1": .3, "users": 40., "positives": 90., "coverage": .125,
		"new_only.recall_at_10": .05, "new_only.hit_rate_at_10": .375, "new_only.ndcg_at_10": .0625,
		"baselines.own_repeats.recall_at_10": .3, "baselines.own_repeats.interval.0": .26, "baselines.popular.new_only.users": 0.,
		"baselines.popular.model_minus.recall_at_10": .15, "baselines.popular.model_minus.interval.0": .11,
		"baselines.popular.model_minus.new_only.interval.1": .03, "baselines.another.model_minus": nil,
		"staleness.daily.recall_at_10": .3, "staleness.realtime.interval.1": .4, "staleness.realtime.new_only.positives": 50.,
		"staleness.realtime.minus_once.interval.0": .08, "staleness.realtime.minus_once.new_only.recall_at_10": .02, "staleness.once": nil, "model_minus": nil,
	} {
		at := got
		for key := range strings.SplitSeq(path, ".") {
			switch x := at.(type) {
			case map[string]any:
				at = x[key]
			case []any:
				at = x[key[0]-'0']
			}
		}
		if at != want {
			t.Errorf("%s: %v, want %v", path, at, want)
		}
	}
}
