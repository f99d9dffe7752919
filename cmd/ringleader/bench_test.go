package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/device/timed"
)

// command runs the program's command line within the test.
func command(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

// benched runs a benchmark and returns its report, as written.
func benched(t *testing.T, args ...string) *benchReport {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := command(t, append([]string{"bench", "--json", file}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &benchReport{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, r.Digest) || !strings.Contains(out, "outside of operators") {
		t.Errorf("printed %q: want what the report says", out)
	}
	return r
}

// sound checks what must hold of every report.
func (r *benchReport) sound(t *testing.T) {
	t.Helper()
	for name, x := range map[string]float64{
		"step_s_min": r.StepMin, "cpu_s": r.CPU, "users_per_s": r.UsersPerS, "tokens_per_s": r.TokensPerS, "gflops": r.GFLOPs,
		"peak_rss_mib": r.PeakRSS, "matmul_s": r.MatMul, "matmul_gflops": r.MatMulGFLOPs, "tokens": float64(r.Tokens),
	} {
		if !(x > 0) || math.IsInf(x, 0) {
			t.Errorf("%s is %v", name, x)
		}
	}
	if r.StepMin > r.StepMedian || r.StepMedian > r.StepMax || r.Class == "" || r.Processor == "" || r.DType != "float32" {
		t.Errorf("report %+v", r)
	}
	share := r.Outside
	for _, c := range r.Breakdown {
		share += c.Share
	}
	if math.Abs(share-1) > 1e-9 {
		t.Errorf("shares add up to %v", share)
	}
}

// TestBenchStep: the same bits on one thread and on two.
func TestBenchStep(t *testing.T) {
	args := []string{"step", "--preset", "tiny", "--users", "2", "--shards", "3", "--steps", "2"}
	one, two := benched(t, append(args, "--threads", "1")...), benched(t, append(args, "--threads", "2")...)
	one.sound(t)
	two.sound(t)
	if one.Digest != two.Digest || one.Threads != 1 || two.Threads != 2 {
		t.Errorf("digest %s on %d threads, %s on %d", one.Digest, one.Threads, two.Digest, two.Threads)
	}
	if one.Workload != "tiny" || one.Users != 6 || one.Shards != 3 || one.Negatives != 64 {
		t.Errorf("report %+v", one)
	}
}

// TestBenchTrain: the job's fields are those of a job file.
func TestBenchTrain(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if _, err := synth.Write(data, synth.Options{Users: 120, Items: 80}); err != nil {
		t.Fatal(err)
	}
	args := []string{"train", "--data", data, "--preset", "tiny", "--set", "what.shards=3", "--set", "what.users_per_shard=5", "--set", "what.negatives.random=20", "--steps", "2"}
	one, two := benched(t, append(args, "--threads", "1")...), benched(t, append(args, "--threads", "2")...)
	one.sound(t)
	two.sound(t)
	if one.Digest != two.Digest {
		t.Errorf("digest %s on one thread, %s on two", one.Digest, two.Digest)
	}
	if one.Workload != "synthetic" || one.Users != 15 || one.Shards != 3 || one.Negatives != 52 {
		t.Errorf("report %+v", one)
	}
	if in := one.Input; in == nil || in.Calls != 3 || !(in.CPU > 0) || !(in.Share < one.Outside+1) {
		t.Errorf("input %+v: want three draws", in)
	}
	for want, c := range map[string]struct {
		code int
		args []string
	}{
		"what.shards is 0":                   {exitUsage, []string{"--data", data, "--set", "what.shards=0"}},
		`what.model.preset is "huge"`:        {exitUsage, []string{"--data", data, "--preset", "huge"}},
		"required flag(s) \"data\" not set":  {exitUsage, nil},
		"negatives.random 256: the data set": {exitInput, []string{"--data", data}},
		"nowhere":                            {exitInput, []string{"--data", filepath.Join(data, "nowhere")}},
	} {
		_, err := command(t, append([]string{"bench", "train"}, c.args...)...)
		if code := exitCode(t.Context(), err); err == nil || code != c.code || !strings.Contains(err.Error(), want) {
			t.Errorf("bench train %v: %v, exit code %d; want %q and %d", c.args, err, code, want, c.code)
		}
	}
}

// TestBenchPeer: the sizes, the count of operations and the loss at the start are those of scripts/bench/step.py.
func TestBenchPeer(t *testing.T) {
	inner, err := cpu.Open(cpu.Options{Lanes: 2})
	if err != nil {
		t.Fatal(err)
	}
	dev := timed.Wrap(inner)
	what, err := peerWhat()
	if err != nil {
		t.Fatal(err)
	}
	const users = 2
	what.Shards = users
	w, closeAll, err := openPeer(dev, what, users)
	if err != nil {
		t.Fatal(err)
	}
	const d, ff, m, layers, in, negatives = 256, 1024, 255, 4, 300, 4096
	const forward = layers*(2*(4*d*d+2*d*ff)+4*m*d) + 2*in*d + 2*2*d*ff
	if got, want := w.flops(w.load(ringleader.Step(0))), float64(users*m*(3*forward+2*2*negatives*d)); got != want {
		t.Errorf("%v operations, want %v", got, want)
	}
	if n := w.model.Size(); n != 3827457 {
		t.Errorf("%d parameters, want 3827457", n)
	}
	s, err := newStepper(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.engine.Initialise(), s.step(t.Context())); err != nil {
		t.Fatal(err)
	}
	// At the start, nothing is known: a positive is one of 4097 of equal rank, whose scores have the variance 1/(d tau^2).
	loss, guess := s.trailer.Loss()/users, math.Log(1+negatives*math.Exp(1/(2*d*.07*.07)))
	if s.trailer.Tokens() != users*m || math.Abs(loss-guess) > .1 {
		t.Errorf("%d tokens, loss %v: want %d, and about %v", s.trailer.Tokens(), loss, users*m, guess)
	}
	s.group.Close(nil)
	closeAll()
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

func TestBenchRefuses(t *testing.T) {
	for want, args := range map[string]string{
		`--preset "large": allowed: peer, pinnerformer, seed, small, tiny`: "step --preset large",
		`--dtype "float16": allowed: float32, bfloat16`:                    "step --dtype float16",
		"--threads -1: allowed":                                            "step --threads -1",
		"--steps 0: allowed":                                               "step --steps 0",
		"--shards 5000: allowed":                                           "step --shards 5000",
		"--users -2: allowed":                                              "step --users -2",
		"--shards 17: 16 users cannot be cut":                              "step --shards 17",
		"unknown flag: --bogus":                                            "step --bogus",
		"unknown command":                                                  "bogus",
	} {
		_, err := command(t, append([]string{"bench"}, strings.Fields(args)...)...)
		if code := exitCode(t.Context(), err); err == nil || code != exitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %s: %v, exit code %d; want %q and %d", args, err, code, want, exitUsage)
		}
	}
}
