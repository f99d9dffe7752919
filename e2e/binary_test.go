package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// program is the binary under test, built once.
var program string

// cudaVariable names a binary with the CUDA backend: then that is the one under test, and the tests that compute on a GPU run.
const cudaVariable = "RINGLEADER_CUDA"

func TestMain(m *testing.M) {
	dir, err := build()
	remove := func(code int) {
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}
	if err != nil {
		remove(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(remove))
}

// build compiles the binary under test into a folder of its own, or takes the one that the environment names and returns "".
func build() (dir string, err error) {
	if program = os.Getenv(cudaVariable); program != "" {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "ringleader-e2e-"); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "ringleader")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/ringleader").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build ringleader: %w\n%s", err, out)
	}
	return dir, nil
}

// limit bounds one command of a test.
const limit = 3 * time.Minute

// output runs ringleader and returns its standard output; a failure is the test's.
func output(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := try(t, args...)
	if err != nil {
		t.Fatalf("ringleader %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout
}

// try runs ringleader, which may fail.
func try(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// jobFile writes a job on a synthetic data set, small enough that a step takes milliseconds, and returns its path.
func jobFile(t *testing.T, steps int) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := synth.Write(filepath.Join(dir, "data"), synth.Options{Users: 240, Items: 120, Seed: 3}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "job.yaml")
	text := fmt.Sprintf(`name: promise
what:
  data: data
  seed: 11
  shards: 12
  users_per_shard: 2
  steps: %d
  model: {preset: tiny, dropout: 0.1}
how:
  checkpoint: {every: 15, keep: 3}
`, steps)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// report is what local --json says.
type report struct {
	Steps       int64   `json:"steps"`
	FinalLoss   float64 `json:"final_loss"`
	Widened     int64   `json:"widened_steps"`
	StateDigest string  `json:"state_digest"`
	Checkpoint  string  `json:"checkpoint"`
	Generations []struct {
		Number    uint64   `json:"number"`
		Members   []string `json:"members"`
		FirstStep int64    `json:"first_step"`
		Reason    string   `json:"reason"`
	} `json:"generations"`
	Faults []struct {
		Fault     string   `json:"fault"`
		RecoveryS *float64 `json:"recovery_s"`
	} `json:"faults"`
	Error string `json:"error"`
}

// local runs ringleader local in a directory of its own and returns it with the report.
func local(t *testing.T, job string, args ...string) (dir string, r report) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	out := output(t, append([]string{"local", "--job", job, "--dir", dir, "--json", "-"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("report of ringleader local: %v\n%s", err, out)
	}
	return dir, r
}
