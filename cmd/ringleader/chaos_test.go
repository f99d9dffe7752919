package main

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestPlanChaos: a schedule is a function of seed and round; what it says can be carried out; and every kind of fault comes up.
func TestPlanChaos(t *testing.T) {
	seen := map[string]bool{}
	for round := range 300 {
		s3 := round%2 == 1
		p := planChaos(3, round, chaosRound, s3)
		if again := planChaos(3, round, chaosRound, s3); !reflect.DeepEqual(p, again) {
			t.Fatalf("round %d: %+v, and again: %+v", round, p, again)
		}
		faults, err := parseFaults(p.Faults)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkFaults(faults, p.Workers, chaosSteps); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if len(p.Faults) != chaosRound || !slices.IsSortedFunc(faults, func(a, b fault) int { return int(a.step - b.step) }) {
			t.Errorf("round %d: %v", round, p.Faults)
		}
		alive := p.Workers
		for i, f := range faults {
			if i > 0 && faults[i-1].kind == "flip-sum" && f.step == faults[i-1].step+1 && f.on == onWorker && f.kind != "join" {
				t.Errorf("round %d: %s, before states are compared again after %s", round, f.spec, faults[i-1].spec)
			}
			if f.on == onServer && !s3 {
				t.Errorf("round %d: %s, without a server", round, f.spec)
			}
			if (f.kind == "cut-download" || f.kind == "flip-download") && (i+1 == len(faults) || faults[i+1].on != onWorkers) {
				t.Errorf("round %d: %s, and nobody loads a checkpoint: %v", round, f.spec, p.Faults)
			}
			seen[f.kind+":"+f.on] = true
			switch {
			case f.on != onWorker:
			case f.kind == "kill", f.kind == "drain":
				alive--
			case f.kind == "join":
				alive++
			}
			if alive < 1 || alive > chaosMost {
				t.Errorf("round %d: %d workers after %s", round, alive, f.spec)
			}
		}
	}
	for _, f := range slices.Concat(faultTable, serverTable) {
		if name := f.kind + ":" + f.on; !seen[name] && name != "kill:leader" {
			t.Errorf("%s never comes up", name)
		}
	}
	first := planChaos(3, 0, chaosRound, false)
	if reflect.DeepEqual(first, planChaos(4, 0, chaosRound, false)) || reflect.DeepEqual(first, planChaos(3, 1, chaosRound, false)) {
		t.Error("two schedules are the same")
	}
}

// TestChaosCounts: a fault that found nothing to strike is not counted as one that struck.
func TestChaosCounts(t *testing.T) {
	c := &chaos{report: &chaosReport{ByKind: map[string]int{}}}
	r := &chaosRoundReport{chaosPlan: chaosPlan{Faults: []string{"kill:worker:1@4", "kill:worker:0@5", "cut:leader@6:1s", "flip:worker:2@7", "kill:s3@8:1s"}}}
	c.count(r, &localReport{Faults: []*faultReport{{Fault: "kill:worker:1@4"}, {Fault: "cut:leader@6:1s"}, {Fault: "flip:worker:2@7", Missed: "why"}, {Fault: "kill:s3@8:1s"}}})
	if c.report.Faults != 3 || c.report.Missed != 2 || c.report.ByKind["kill:worker"] != 1 || c.report.ByKind["kill:s3"] != 1 || c.report.ByKind["cut:leader"] != 1 || strings.Join(r.Missed, " ") != "kill:worker:0@5 flip:worker:2@7" {
		t.Errorf("%+v, missed %v", c.report, r.Missed)
	}
}

// TestHoldingFindsLeaks: an open file, pipe or goroutine more than before shows, and what is gone does not.
func TestHoldingFindsLeaks(t *testing.T) {
	before, err := holdsNow()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("chaos_test.go")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	quit := make(chan struct{})
	ended := make(chan struct{})
	go func() { <-quit; close(ended) }()
	now, err := holdsNow()
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Join(now.beyond(before), "; ")
	for _, want := range []string{"1 more: " + file.Name(), "1 more: goroutine", "2 more: pipe"} {
		if want = strings.Replace(want, file.Name(), "/", 1); !strings.Contains(more, want) {
			t.Errorf("held beyond before: %q, want %q among them", more, want)
		}
	}
	close(quit)
	<-ended
	for _, f := range []*os.File{file, r, w} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
