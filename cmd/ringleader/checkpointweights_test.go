package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// TestWeights: the parameters of a run, exported and imported, are those that another job begins with.
func TestWeights(t *testing.T) {
	data, run := untrainedRun(t)
	dir := t.TempDir()
	file, start, jobFile := filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "start"), filepath.Join(dir, "job.yaml")
	noError(t, os.WriteFile(jobFile, fmt.Appendf(nil, "name: j\nwhat: {data: %q, steps: 10, model: {preset: tiny}}\n", data), 0o644))
	_, err := command(t, "checkpoint", "export", run, "--out", file)
	noError(t, err)
	if out, err := command(t, "checkpoint", "import", file, "--job", jobFile, "--out", start); err != nil || !strings.Contains(out, "at step 0 of job") {
		t.Fatalf("import: %v, %s", err, out)
	}
	want, _, _, err := loadCheckpoint(t.Context(), run, os.Stderr)
	noError(t, err)
	have, m, _, err := loadCheckpoint(t.Context(), start, os.Stderr)
	noError(t, err)
	if state := checkpoints.Start(m.Job, want.Params); have.Step != 0 || have.Digest() != state.Digest() {
		t.Errorf("step %d, state digest %s; want 0, %s", have.Step, have.Digest(), state.Digest())
	}
	if _, err := command(t, "checkpoint", "export", run, "--out", file); err == nil || exitCode(t.Context(), err) != exitInput || !strings.Contains(err.Error(), "exists") {
		t.Errorf("export over a file: %v", err)
	}
	_, err = command(t, "checkpoint", "import", file, "--job", jobFile, "--out", filepath.Join(dir, "other"), "--set", "what.model.layers=2")
	if err == nil || exitCode(t.Context(), err) != exitInput || !strings.Contains(err.Error(), "is missing, the model has it") {
		t.Errorf("import into another model: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); err == nil {
		t.Error("a refused import left something")
	}
}
