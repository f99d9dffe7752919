package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadInput: what users get wrong is refused in one line that names the field, the value and what is allowed, before anything is
// started, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	job := jobFile(t, 10)
	run := filepath.Join(t.TempDir(), "run")
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	local := func(args ...string) []string {
		return append([]string{"local", "--job", job, "--dir", run}, args...)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"0 workers", local("--workers", "0"), []string{"--workers 0", "1..12"}},
		{"25 workers", local("--workers", "25"), []string{"--workers 25", "what.shards 12"}},
		{"NaN learning rate", local("--set", "what.optimizer.lr=.nan"), []string{"what.optimizer.lr"}},
		{"zero learning rate", local("--set", "what.optimizer.lr=0"), []string{"what.optimizer.lr", "0"}},
		{"unknown preset", local("--set", "what.model.preset=huge"), []string{"what.model.preset", "huge", "tiny"}},
		{"unknown field", local("--set", "what.sharts=3"), []string{"sharts"}},
		{"all mistakes at once", local("--set", "what.optimizer.lr=-1", "--set", "what.shards=0"), []string{"what.optimizer.lr", "what.shards"}},
		{"missing data", local("--set", "what.data=nowhere"), []string{"what.data", "nowhere"}},
		{"2 coordinators", local("--coordinators", "2"), []string{"--coordinators 2", "1, 3, 5"}},
		{"unknown fault", local("--fault", "burn:worker:0@3"), []string{"burn:worker:0@3", "kill:worker:I@STEP"}},
		{"fault after the end", local("--fault", "kill:worker:0@11"), []string{"kill:worker:0@11", "10"}},
		{"fault on nobody", local("--fault", "kill:worker:3@5"), []string{"kill:worker:3@5"}},
		{"occupied directory", []string{"local", "--job", job, "--dir", occupied}, []string{occupied, "not empty"}},
		{"resume from nothing", local("--resume", occupied), []string{"--resume", occupied}},
		{"job file away", []string{"local", "--job", "nowhere.yaml", "--dir", run}, []string{"nowhere.yaml"}},
		{"checkpoint of nothing", []string{"checkpoint", "digest", occupied}, []string{"no", "checkpoint"}},
		{"bind beyond loopback", []string{"worker", "--dir", run, "--bind", "0.0.0.0:0", "--token-file", token(t)}, []string{"0.0.0.0:0", "--insecure"}},
		{"unknown device", []string{"worker", "--dir", run, "--device", "cuda:0", "--token-file", token(t)}, []string{"cuda:0"}},
		{"short token", []string{"worker", "--dir", run, "--token-file", filepath.Join(occupied, "precious")}, []string{"at least 16"}},
		{"unknown flag", []string{"local", "--wrokers", "3"}, []string{"wrokers"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, stderr, err := try(t, c.args...)
			if err == nil {
				t.Fatalf("accepted; stderr %q", stderr)
			}
			if strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "panic") {
				t.Errorf("want one line, got %q", stderr)
			}
			for _, w := range c.want {
				if !strings.Contains(stderr, w) {
					t.Errorf("%q does not mention %q", stderr, w)
				}
			}
		})
	}
	if entries, err := os.ReadDir(occupied); err != nil || len(entries) != 1 {
		t.Errorf("what was there before: %v, %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(run, "store")); err == nil {
		t.Error("a refused run left a store behind")
	}
}

func token(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("0123456789abcdef0123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
