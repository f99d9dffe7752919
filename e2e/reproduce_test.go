package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproduce: a grid that was interrupted in the middle of a run, and after one, ends with the bits that "ringleader local" gives each job.
func TestReproduce(t *testing.T) {
	job := jobFile(t, 20)
	grid := filepath.Join(t.TempDir(), "grid")
	args := []string{"reproduce", "staleness", "--job", job, "--data", filepath.Join(filepath.Dir(job), "data"), "--dir", grid, "--seeds", "2",
		"--arms", "sasrec_once,exact_equal_once,exact_equal_realtime", "--parallel", "2", "--set", "how.checkpoint.every=5"}
	output(t, args...)
	finished := results(t, grid)
	if len(finished) != 4 {
		t.Fatalf("%d runs for 2 objectives and 2 seeds: %v", len(finished), finished)
	}
	reference, _ := local(t, job, "--set", "what.loss.objective=sasrec", "--set", "what.seed=12")
	if want := strings.TrimSpace(output(t, "checkpoint", "digest", reference)); finished["sasrec_once-seed-12"] != want {
		t.Errorf("state digests %v; local trains seed 12 to %s", finished, want)
	}

	// One run never ended, one was not evaluated, and one did not begin.
	for name, dir := range runDirs(t, grid) {
		switch name {
		case "sasrec_once-seed-11":
			noError(t, os.RemoveAll(dir))
			output(t, "local", "--job", job, "--dir", dir, "--set", "what.loss.objective=sasrec", "--stop-at", "10")
		case "sasrec_once-seed-12":
			noError(t, os.Remove(filepath.Join(dir, "result.json")))
		case "exact_equal_once-seed-11":
			noError(t, os.RemoveAll(dir))
		}
	}
	report := filepath.Join(t.TempDir(), "report.md")
	stdout, stderr, err := try(t, append(args, "--report", report)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if n := strings.Count(stderr, "is there"); n != 1 {
		t.Errorf("%d runs were used again, want 1:\n%s", n, stderr)
	}
	for name, digest := range results(t, grid) {
		if digest != finished[name] {
			t.Errorf("%s: state digest %s after the interruption, %s before", name, digest, finished[name])
		}
	}
	for _, want := range []string{"sasrec_once seed 11: trained from step 10 ", "sasrec_once seed 12: trained from step 20 ", "exact_equal_once seed 11: trained from step 0 "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("said\n%s\nwant %q", stderr, want)
		}
	}
	text, err := os.ReadFile(report)
	noError(t, err)
	if string(text) != stdout || !strings.Contains(stdout, "exact_equal_realtime > exact_equal_once") || !strings.Contains(stdout, "--seeds 2 --dir DIR") {
		t.Errorf("report\n%s\nprinted\n%s", text, stdout)
	}

	_, stderr, err = try(t, append(args, "--set", "what.loss.horizon_days=4000")...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || len(results(t, grid)) != 4 {
		t.Errorf("a job that cannot be: %v\n%s", err, stderr)
	}
}

// runDirs are the directories of a grid's runs, by arm and seed.
func runDirs(t *testing.T, grid string) map[string]string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(grid, "runs", "*"))
	noError(t, err)
	byName := map[string]string{}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		byName[name[:strings.LastIndexByte(name, '-')]] = dir
	}
	return byName
}

// results are the state digests of a grid's finished runs.
func results(t *testing.T, grid string) map[string]string {
	t.Helper()
	digests := map[string]string{}
	for name, dir := range runDirs(t, grid) {
		text, err := os.ReadFile(filepath.Join(dir, "result.json"))
		noError(t, err)
		var r struct {
			StateDigest string `json:"state_digest"`
		}
		noError(t, json.Unmarshal(text, &r))
		digests[name] = r.StateDigest
	}
	return digests
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
