package evaluation

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func sample() *Report {
	model := Result{Figures{.25, [2]float64{.2, .3}, 40, 90, .125, nil}, Figures{.05, [2]float64{.01, .09}, 30, 50, .25, nil}}
	return &Report{
		Protocol: protocol, Data: "retail", Cut: "2017-11-15T00:00:00Z", EvalDays: 14, MinHistory: 5, Items: 1000, Result: model,
		Baselines: map[string]Result{"own_repeats": {Figures: Figures{RecallAt10: .3}}, "popular": {Figures: Figures{RecallAt10: .1}}, "another": {}},
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
		"30 of the users, with 50 targets, did something new.", "own repeats is the strongest baseline",
	} {
		next := strings.Index(text, want)
		if next <= at {
			t.Errorf("%q is missing or out of order in\n%s", want, text)
		}
		at = next
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

func TestReportJSON(t *testing.T) {
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Recall    float64    `json:"recall_at_10"`
		Interval  [2]float64 `json:"interval"`
		Users     int        `json:"users"`
		Positives int        `json:"positives"`
		Coverage  float64    `json:"coverage"`
		NewOnly   struct {
			Recall float64 `json:"recall_at_10"`
		} `json:"new_only"`
		Baselines map[string]struct {
			Recall  float64        `json:"recall_at_10"`
			NewOnly map[string]any `json:"new_only"`
		} `json:"baselines"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Recall != .25 || got.Interval[1] != .3 || got.Users != 40 || got.Positives != 90 || got.Coverage != .125 || got.NewOnly.Recall != .05 || got.Baselines["own_repeats"].Recall != .3 || got.Baselines["popular"].NewOnly == nil {
		t.Errorf("%s\n%+v", text, got)
	}
}
