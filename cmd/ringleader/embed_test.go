package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/serving"
)

// embed runs the command and returns its report and what it printed to standard error.
func embed(t *testing.T, args ...string) (serving.Report, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(append([]string{"embed", "--json", file}, args...))
	noError(t, root.ExecuteContext(t.Context()))
	text, err := os.ReadFile(file)
	noError(t, err)
	var r serving.Report
	noError(t, json.Unmarshal(text, &r))
	if !strings.Contains(out.String(), r.Generation) {
		t.Errorf("printed %s; want the generation %s", &out, r.Generation)
	}
	return r, errs.String()
}

func TestEmbedCommand(t *testing.T) {
	data, run := untrainedRun(t)
	out := filepath.Join(t.TempDir(), "out")
	common := []string{"--checkpoint", run, "--data", data, "--part-users", "32"}
	first, shown := embed(t, append(common, "--out", out, "--as-of", "cut")...)
	if first.Made != first.Users || !strings.Contains(shown, "users 1/") || !strings.Contains(shown, " 100%") {
		t.Errorf("%+v; shown %s", first, shown)
	}
	second, _ := embed(t, append(common, "--out", out)...)
	if second.Kept == 0 || second.Made == 0 || second.AsOfMS <= first.AsOfMS || !second.Current {
		t.Errorf("%+v", second)
	}
	alone, _ := embed(t, append(common, "--out", filepath.Join(t.TempDir(), "alone"), "--threads", "1")...)
	from, _ := embed(t, append(common, "--out", filepath.Join(t.TempDir(), "from"), "--from", out)...)
	full, _ := embed(t, append(common, "--out", out, "--full")...)
	if !slices.Equal(alone.Files, second.Files) || !slices.Equal(from.Files, second.Files) || !slices.Equal(full.Files, second.Files) || from.Kept == 0 || full.Found != full.Users {
		t.Errorf("other files:\n%+v\n%+v\n%+v\n%+v", second, alone, from, full)
	}

	other := otherState(t, run)
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitUsage, []string{"--checkpoint", run, "--data", data, "--out", out, "--as-of", "spring"}},
		{exitUsage, []string{"--checkpoint", run, "--data", data, "--out", out, "--full", "--from", out}},
		{exitUsage, []string{"--checkpoint", run, "--data", data, "--out", out, "--part-users", "0"}},
		{exitUsage, []string{"--checkpoint", run, "--data", data, "--out", out, "--device", "abacus"}},
		{exitUsage, []string{"--checkpoint", run, "--data", data}},
		{exitInput, []string{"--checkpoint", run, "--data", data, "--out", out, "--as-of", "2001-01-01"}},
		{exitInput, []string{"--checkpoint", run, "--data", data, "--out", filepath.Join(t.TempDir(), "new"), "--from", t.TempDir()}},
		{exitInput, []string{"--checkpoint", other, "--data", data, "--out", out}},
		{exitOK, []string{"--checkpoint", other, "--data", data, "--out", out, "--full"}},
	} {
		if code := runQuietly(t, append([]string{"embed"}, c.args...)); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
	}
}

// runQuietly is run, its output thrown away.
func runQuietly(t *testing.T, args []string) int {
	t.Helper()
	root := newRoot()
	root.SetOut(&bytes.Buffer{})
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	if err == nil {
		return exitOK
	}
	return exitCode(t.Context(), err)
}

// otherState is a store with the run's state one step on.
func otherState(t *testing.T, run string) string {
	t.Helper()
	st, spec, _, err := loadWithJob(t.Context(), run, &bytes.Buffer{})
	noError(t, err)
	st.Params = slices.Clone(st.Params)
	last := &st.Params[len(st.Params)-1]
	*last = checkpoints.Tensor{Name: last.Name, Shape: last.Shape, Data: slices.Clone(last.Data)}
	last.Data[0] += .25
	st.Step++
	dir := t.TempDir()
	writeCheckpoint(t, dir, st, spec)
	return dir
}
