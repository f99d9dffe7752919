package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/job"
)

// twoCheckpoints is a run with one more checkpoint, a step on, whose directory is returned too.
func twoCheckpoints(t *testing.T) (run, newest string) {
	t.Helper()
	_, run = untrainedRun(t)
	other := otherState(t, run)
	entries, err := os.ReadDir(other)
	noError(t, err)
	newest = filepath.Join(run, entries[0].Name())
	noError(t, os.CopyFS(newest, os.DirFS(filepath.Join(other, entries[0].Name()))))
	return run, newest
}

// TestPassedOver: whoever asks for a run's newest good checkpoint is told which newer ones are none.
func TestPassedOver(t *testing.T) {
	run, newest := twoCheckpoints(t)
	files, err := filepath.Glob(filepath.Join(newest, "model-*"))
	noError(t, err)
	text, err := os.ReadFile(files[0])
	noError(t, err)
	text[len(text)-1] ^= 1
	noError(t, os.WriteFile(files[0], text, 0o644))
	for _, verb := range []string{"digest", "show"} {
		out, err := command(t, "checkpoint", verb, run)
		if err != nil || !strings.Contains(out, "passed over: ") || !strings.Contains(out, filepath.Base(newest)) {
			t.Errorf("checkpoint %s says %q, %v; want it to name %s", verb, out, err, filepath.Base(newest))
		}
	}
	for args, good := range map[string]int{"": 0, "--all": 1} {
		out, err := command(t, append([]string{"checkpoint", "verify", run}, strings.Fields(args)...)...)
		if err == nil || exitCode(t.Context(), err) != exitInput || !strings.Contains(err.Error(), filepath.Base(newest)) || strings.Count(out, "every byte is as") != good {
			t.Errorf("checkpoint verify %s says %q, %v; want %d good ones and an error that names %s", args, out, err, good, filepath.Base(newest))
		}
	}
}

func TestCheckpointList(t *testing.T) {
	run, newest := twoCheckpoints(t)
	out, err := command(t, "checkpoint", "list", run, "--json")
	noError(t, err)
	var list []listedCheckpoint
	noError(t, json.Unmarshal([]byte(out), &list))
	if len(list) != 2 || list[0].Step != 2 || list[1].Step != 1 || list[0].Directory != filepath.Base(newest) || list[0].JobDigest == "" ||
		list[0].JobDigest != list[1].JobDigest || list[0].Bytes == 0 || !strings.HasSuffix(list[0].Directory, list[0].StateDigest[:8]) {
		t.Errorf("list %s", out)
	}
	out, err = command(t, "checkpoint", "list", run)
	if err != nil || !strings.Contains(out, list[0].JobDigest) || strings.Count(out, "\n") != 3 {
		t.Errorf("list %q, %v", out, err)
	}
}

// TestStoreOfRun: a run is found by the directory of its ringleader local wherever its job keeps its checkpoints.
func TestStoreOfRun(t *testing.T) {
	_, store := untrainedRun(t)
	_, spec, where, err := loadWithJob(t.Context(), store, os.Stderr)
	noError(t, err)
	dir := t.TempDir()
	spec.How.Store = store
	text, err := job.Canonical(spec)
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join(dir, runJob), append(text, '\n'), 0o644))
	if _, _, got, err := loadCheckpoint(t.Context(), dir, os.Stderr); err != nil || got != where {
		t.Errorf("%s, %v; want %s", got, err, where)
	}
	// A copy of a checkpoint is itself, whatever the job beside it says.
	alone := filepath.Join(t.TempDir(), "copy")
	noError(t, os.CopyFS(alone, os.DirFS(strings.TrimPrefix(where, "file://"))))
	if got, err := storeOfRun(alone); err != nil || got != alone {
		t.Errorf("a copy: %s, %v", got, err)
	}
	noError(t, os.WriteFile(filepath.Join(dir, runJob), []byte("{"), 0o644))
	if _, _, _, err := loadCheckpoint(t.Context(), dir, os.Stderr); err == nil || exitCode(t.Context(), err) != exitInput || !strings.Contains(err.Error(), runJob) {
		t.Errorf("a damaged job: %v", err)
	}
	if checkpoints.JobName != runJob {
		t.Errorf("the job's file is %s beside a checkpoint, %s beside a run", checkpoints.JobName, runJob)
	}
}

// TestCheckOwner: a store is one job's.
func TestCheckOwner(t *testing.T) {
	_, store := untrainedRun(t)
	_, spec, _, err := loadWithJob(t.Context(), store, os.Stderr)
	noError(t, err)
	absent := filepath.Join(t.TempDir(), "absent")
	noError(t, checkOwner(t.Context(), store, spec.What.Digest()))
	noError(t, checkOwner(t.Context(), absent, spec.What.Digest()))
	noError(t, checkOwner(t.Context(), t.TempDir(), spec.What.Digest()))
	if _, err := os.Stat(absent); err == nil {
		t.Error("looking for a store made one")
	}
	mine := spec
	mine.What.Seed++
	mine.How.Store = store
	plan := &localPlan{spec: mine}
	theirs := spec.What.Digest().String()
	if err := plan.checkStore(t.Context()); err == nil || exitCode(t.Context(), err) != exitInput || !strings.Contains(err.Error(), theirs) {
		t.Errorf("another job's store is taken: %v", err)
	}
	var warned strings.Builder
	if err := plan.checkStoreFromAfar(t.Context(), &warned); err == nil || exitCode(t.Context(), err) != exitInput || warned.Len() > 0 {
		t.Errorf("another job's store is submitted with: %v", err)
	}
	plan.spec.How.Store = filepath.Join(tokenFile(t), "store") // below a file: nobody can read it from here
	if err := plan.checkStoreFromAfar(t.Context(), &warned); err != nil || !strings.Contains(warned.String(), "cannot be read from here") {
		t.Errorf("a store that only workers reach: %v, %s", err, warned.String())
	}
}
