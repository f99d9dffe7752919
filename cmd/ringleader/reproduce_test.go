package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/examples"
)

// aGrid are options for a synthetic data set with a tiny base job.
func aGrid(t *testing.T, table string) reproduceOptions {
	t.Helper()
	data, dir := t.TempDir(), t.TempDir()
	if _, err := synth.Write(data, synth.Options{Users: 80, Items: 300, Dim: 8, Actions: 40, Holdout: .4}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "job.yaml")
	noError(t, os.WriteFile(file, []byte("name: grid\nwhat: {data: elsewhere, seed: 7, epochs: 2, model: {preset: tiny, width: 32}}\nhow: {stop_at: 3}\n"), 0o644))
	return reproduceOptions{table: table, file: file, data: data, dir: filepath.Join(dir, "grid"), seeds: 2, steps: 5, workers: 1, parallel: 1, coverageUsers: defaultCoverageUsers}
}

// TestGrid: jobs that arms have in common are trained once, and all have the same budget.
func TestGrid(t *testing.T) {
	o := aGrid(t, "all")
	g, err := o.plan(t.Context())
	noError(t, err)
	arms := 0
	for _, table := range g.tables {
		arms += len(table.Arms)
	}
	// All of staleness is in objectives; mixed_on, all_features and base are exact.
	if want := 2 * (arms - 9 - 3); len(g.runs) != want {
		t.Errorf("%d runs for %d arms, want %d", len(g.runs), arms, want)
	}
	one := func(table, arm string) *gridRun { return g.of[table][arm][1] }
	if one("staleness", "sasrec_daily") != one("objectives", "sasrec") || one("capacity", "base") != one("objectives", "exact") || one("negatives", "mixed_on") != one("features", "all_features") {
		t.Error("the same jobs are trained twice")
	}
	if s := one("objectives", "dense").staleness; len(s) != 2 {
		t.Errorf("staleness %v, want daily and realtime", s)
	}
	places := map[string]bool{}
	for i, r := range g.runs {
		w := r.spec.What
		if w.Steps != 5 || w.Epochs != 0 || w.Seed != 7+uint64(i/(len(g.runs)/2)) || w.Data != o.data || r.spec.How.StopAt != 0 || w.Shards*w.UsersPerShard != 96 {
			t.Errorf("%s: %+v", r.name, w)
		}
		place, err := g.place(r)
		noError(t, err)
		places[place] = true
	}
	if len(places) != len(g.runs) {
		t.Errorf("%d directories for %d runs", len(places), len(g.runs))
	}
	r := g.runs[0]
	noError(t, os.Mkdir(filepath.Join(g.o.dir, "runs", "another-arm-seed-7-"+r.digest()), 0o755))
	if place, err := g.place(r); err != nil || filepath.Base(place) != "another-arm-seed-7-"+r.digest() {
		t.Errorf("the run of another arm with the same job is not found: %s, %v", place, err)
	}
}

// TestGridRefuses what is wrong before anything runs.
func TestGridRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		code       int
		spoil      func(o *reproduceOptions)
	}{
		{"seeds", "--seeds 0: allowed: 1..", exitUsage, func(o *reproduceOptions) { o.seeds = 0 }},
		{"steps", "--steps -1", exitUsage, func(o *reproduceOptions) { o.steps = -1 }},
		{"data", "--data", exitInput, func(o *reproduceOptions) { o.data = t.TempDir() }},
		{"job file", "read job file", exitInput, func(o *reproduceOptions) { o.file = "bogus.yaml" }},
		{"an arm", "allowed: next, sasrec", exitUsage, func(o *reproduceOptions) { o.arms = []string{"bogus"} }},
		{"arms of all tables", "want one table", exitUsage, func(o *reproduceOptions) { o.table, o.arms = "all", []string{"dense"} }},
		{"a store for all", "how.store is", exitInput, func(o *reproduceOptions) { o.job.set = []string{"how.store=/somewhere"} }},
		{"an arm that cannot be", "arm random_off of negatives: ", exitInput, func(o *reproduceOptions) { // 304 draws from 300 items
			o.table, o.job.set = "negatives", []string{"what.negatives.in_batch=300", "what.negatives.random=4"}
		}},
	} {
		o := aGrid(t, "objectives")
		c.spoil(&o)
		_, err := o.plan(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || exitCode(t.Context(), err) != c.code {
			t.Errorf("%s: %v (exit code %d); want %q (%d)", c.name, err, exitCode(t.Context(), err), c.want, c.code)
		}
		if _, err := os.Stat(filepath.Join(o.dir, "runs")); err == nil {
			t.Errorf("%s: there are runs", c.name)
		}
	}
	for _, args := range [][]string{{"reproduce", "table-3", "--data", "x", "--dir", "y"}, {"reproduce"}, {"reproduce", "all", "objectives"}} {
		if code := run(args); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

// TestBaseJob: without --job, a data set that is known gets its example, any other one a small job.
func TestBaseJob(t *testing.T) {
	o := aGrid(t, "objectives")
	o.file = ""
	g, err := o.plan(t.Context())
	noError(t, err)
	if g.base.Name != "reproduce" || filepath.Dir(g.file) != g.o.dir {
		t.Errorf("base job %s in %s", g.base.Name, g.file)
	}
	for _, dataSet := range []string{"complete-journey", "kuairand-pure", "movietweetings", "online-retail"} {
		if _, text, ok := examples.Job(dataSet); !ok || len(text) == 0 {
			t.Errorf("%s has no job", dataSet)
		}
	}
}

func TestReadResult(t *testing.T) {
	file := filepath.Join(t.TempDir(), resultName)
	if x, err := readResult(file); x != nil || err != nil {
		t.Errorf("no result yet: %v, %v", x, err)
	}
	for _, text := range []string{"", "{", "{}"} {
		noError(t, os.WriteFile(file, []byte(text), 0o644))
		if _, err := readResult(file); exitCode(t.Context(), err) != exitInput {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestLockGrid: one process at a time.
func TestLockGrid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "grid")
	unlock, err := lockGrid(dir)
	noError(t, err)
	if _, err := lockGrid(dir); exitCode(t.Context(), err) != exitInput || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second process: %v", err)
	}
	noError(t, unlock())
	unlock, err = lockGrid(dir)
	noError(t, err)
	noError(t, unlock())
}
