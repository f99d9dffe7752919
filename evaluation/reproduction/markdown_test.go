package reproduction

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden report anew")

// TestMarkdown compares with a report that was read by a person.
func TestMarkdown(t *testing.T) {
	const golden = "testdata/report.md"
	table := tables(t, "features", base(t), Columns{Duration: true})[0]
	table.Note = "A note."
	if err := table.Only([]string{"all_features", "without_item", "all_features_normal"}); err != nil {
		t.Fatal(err)
	}
	o, err := Judge(table, map[string][]Run{
		"all_features":        runs(.52, .01, 40, .1, .2, .3),
		"without_item":        runs(.5, 0, 40, .01, .02, .03),
		"all_features_normal": runs(.49, -.001, 40, .4, .5, .6),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := Report{
		Data: "toys", Items: 7, Users: 40, NewUsers: 20, Window: "in the 14 days after 2024-01-01", Budget: "10 steps", Seeds: []uint64{1, 2, 3}, Tables: []Outcome{o},
		Baseline: []Baseline{{Name: "popular", All: .1, AllRange: [2]float64{.05, .15}, New: .2, NewRange: [2]float64{.1, .3}}},
		Command:  "ringleader reproduce %s --data DATA --set name=100%% --dir DIR",
	}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("report\n%s\nwant\n%s", b.String(), want)
	}
	for line := range strings.Lines(b.String()) {
		if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") && n != 13 && n != 9 && n != 6 {
			t.Errorf("%d bars: %s", n, line)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestMarkdownOnAFullDisk(t *testing.T) {
	if err := (&Report{}).Markdown(full{}); err == nil {
		t.Error("no error")
	}
}
