package e2e

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// embedReport is what embed --json says.
type embedReport struct {
	Generation string `json:"generation"`
	State      string `json:"state"`
	Users      int    `json:"users"`
	Made       int    `json:"made"`
	Kept       int    `json:"kept"`
	Files      []struct {
		Name   string `json:"name"`
		SHA256 string `json:"sha256"`
	} `json:"files"`
}

func embed(t *testing.T, args ...string) (r embedReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(output(t, append([]string{"embed", "--json", "-"}, args...)...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// dataOf is the data set that a run was trained on.
func dataOf(t *testing.T, run string) string {
	t.Helper()
	jobs, err := filepath.Glob(filepath.Join(run, "store", "step-*", "job.json"))
	if err != nil || len(jobs) == 0 {
		t.Fatalf("jobs of %s: %v, %v", run, jobs, err)
	}
	var spec struct{ What struct{ Data string } }
	if err := json.Unmarshal([]byte(read(t, jobs[0])), &spec); err != nil {
		t.Fatal(err)
	}
	return spec.What.Data
}

// TestEmbed: what is trained is served; a later day takes from the one before, which changes how long it takes and nothing else; another state does not mix with it.
func TestEmbed(t *testing.T) {
	job := jobFile(t, 20)
	run, trained := local(t, job, "--workers", "2")
	data, out := dataOf(t, run), filepath.Join(t.TempDir(), "vectors")
	args := func(out string, more ...string) []string {
		return append([]string{"--checkpoint", run, "--data", data, "--out", out, "--part-users", "50"}, more...)
	}
	first := embed(t, args(out, "--as-of", "cut")...)
	if first.State != trained.StateDigest || first.Made != first.Users || first.Users == 0 {
		t.Errorf("%+v, trained was %s", first, trained.StateDigest)
	}
	daily := embed(t, args(out)...)
	full := embed(t, args(filepath.Join(t.TempDir(), "alone"), "--threads", "1")...)
	if daily.Kept == 0 || daily.Generation != full.Generation || !reflect.DeepEqual(daily.Files, full.Files) {
		t.Errorf("%+v, in full %+v", daily, full)
	}

	longer, _ := local(t, job, "--workers", "2", "--set", "what.steps=21")
	_, stderr, err := try(t, "embed", "--checkpoint", longer, "--data", data, "--out", out)
	if exitCode(err) != 3 || strings.Count(stderr, "\n") != 1 || !containsAll(stderr, []string{"another model's embeddings", trained.StateDigest, "(--full)"}) {
		t.Errorf("another state: %v, %s", err, stderr)
	}
}
