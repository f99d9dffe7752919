package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestForScripts: what schedulers read of a cluster is JSON with the words and numbers of the documentation.
func TestForScripts(t *testing.T) {
	d := startCoordinator(t)
	d.worker("w0", "cpu")
	store, _ := d.train(jobFile(t, 4), "how.checkpoint.every=2")
	read := func(into any, args ...string) {
		t.Helper()
		out := output(t, append(args, append([]string{"--json"}, d.flags...)...)...)
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Fatalf("%s: %v:\n%s", strings.Join(args, " "), err, out)
		}
	}
	type aJob struct {
		ID, State   string
		Step, Steps int64
		Generations []struct{ Members []string }
		Checkpoints []struct {
			Step        int64
			StateDigest string `json:"state_digest"`
			Directory   string
			Final       bool
		}
		Events []struct{ Text string }
		Spec   struct {
			What struct{ Seed, Steps *int64 }
			How  struct{ Store string }
		}
	}
	var list []aJob
	read(&list, "job", "list")
	if len(list) != 1 || list[0].State != "succeeded" || list[0].Step != 4 || list[0].Steps != 4 {
		t.Fatalf("job list: %+v", list)
	}
	var j aJob
	read(&j, "job", "show", list[0].ID)
	if j.ID != list[0].ID || len(j.Events) == 0 || j.Spec.How.Store != store || j.Spec.What.Steps == nil || *j.Spec.What.Steps != 4 ||
		len(j.Generations) != 1 || len(j.Generations[0].Members) != 1 || j.Generations[0].Members[0] != "w0" || len(j.Checkpoints) != 2 || !j.Checkpoints[1].Final {
		t.Fatalf("job show: %+v", j)
	}
	last := j.Checkpoints[1]
	if _, err := os.Stat(filepath.Join(store, last.Directory)); err != nil {
		t.Error(err)
	}
	if digest := strings.TrimSpace(output(t, "checkpoint", "digest", store)); digest != last.StateDigest {
		t.Errorf("state digest %s in job show, %s in the store", last.StateDigest, digest)
	}
	for _, c := range []struct{ verb, want string }{{"job show", j.ID + "\tpromise, succeeded\n"}, {"job cancel", j.ID + "\t"}, {"worker drain", "w0\n"}} {
		args := append(append([]string{"__complete"}, strings.Fields(c.verb)...), append(slices.Clone(d.flags), "")...)
		if out := output(t, args...); !strings.HasPrefix(out, c.want) || !strings.HasSuffix(out, ":4\n") { // 4: no names of files
			t.Errorf("%s completes to %q, want %q", c.verb, out, c.want)
		}
	}
	var workers []struct{ ID, State, Device string }
	read(&workers, "worker", "list")
	if len(workers) != 1 || workers[0].ID != "w0" || workers[0].State != "idle" || workers[0].Device != "cpu" {
		t.Errorf("worker list: %+v", workers)
	}
	var coordinators []struct {
		Address, State string
		Index          uint64
	}
	read(&coordinators, "coordinator", "list")
	if len(coordinators) != 1 || coordinators[0].Address != d.flags[1] || coordinators[0].State != "leads" || coordinators[0].Index == 0 {
		t.Errorf("coordinator list: %+v", coordinators)
	}
}

// TestWrongToken: a worker that the cluster refuses ends, as a wrong input does.
func TestWrongToken(t *testing.T) {
	d := startCoordinator(t)
	file := filepath.Join(t.TempDir(), "token")
	noError(t, os.WriteFile(file, []byte("of another cluster"), 0o600))
	w := d.start(nil, "worker", "--dir", t.TempDir(), "--coordinators", d.flags[1], "--token-file", file)
	if last, code := w.end(); code != 3 || !strings.Contains(last, "cluster token missing or wrong (--token-file)") {
		t.Errorf("exit code %d, %q; want 3, and what is wrong", code, last)
	}
	// Neither leads without the other: who is there is told all the same.
	away := closedPort(t)
	alone := closedPort(t)
	d.start(nil, "coordinator", "--data-dir", t.TempDir(), "--bind", alone, "--peers", strings.Join([]string{alone, away, closedPort(t)}, ","), "--token-file", d.flags[3])
	var out, stderr string
	var err error
	for !strings.Contains(out, "waits") { // until it listens
		out, stderr, err = try(t, "coordinator", "list", "--coordinators", alone+","+away, "--token-file", d.flags[3])
		if err == nil {
			t.Fatalf("a coordinator leads:\n%s", out)
		}
		if t.Context().Err() != nil {
			t.Fatal(out, stderr)
		}
	}
	if !strings.Contains(out, away+"  away") || !strings.Contains(stderr, "no coordinator leads") {
		t.Errorf("%s%s", out, stderr)
	}
}
