package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
)

// TestBenchLoss: the same bits on one thread and on two, and errors that are measured.
func TestBenchLoss(t *testing.T) {
	measured := func(threads string) (r lossReport) {
		file := filepath.Join(t.TempDir(), "loss.json")
		out, err := command(t, "bench", "loss", "--users", "4", "--positions", "19", "--targets", "6", "--pool", "130", "--dim", "12", "--shards", "3", "--steps", "2",
			"--threads", threads, "--json", file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, r.Digest) || !strings.Contains(out, r.Errors.String()) {
			t.Errorf("printed %q: want what the report says", out)
		}
		return r
	}
	one, two := measured("1"), measured("2")
	if one.Digest != two.Digest || one.Threads != 1 || two.Threads != 2 || len(one.Digest) != 16 {
		t.Errorf("digest %s on %d threads, %s on %d", one.Digest, one.Threads, two.Digest, two.Threads)
	}
	for name, x := range map[string]float64{
		"step_s_min": one.StepMin, "cpu_s": one.CPU, "tokens_per_s": one.TokensPerS, "gflops": one.GFLOPs, "peak_rss_mib": one.PeakRSS, "errors": one.Errors.worst(),
	} {
		if !(x > 0) || math.IsInf(x, 0) {
			t.Errorf("%s is %v", name, x)
		}
	}
	if one.StepMin > one.StepMedian || one.StepMedian > one.StepMax || one.Users != 4 || one.Shards != 3 {
		t.Errorf("report %+v", one)
	}
}

// TestBenchLossFinds: what is wrong shows as an error, and the verdict says so.
func TestBenchLossFinds(t *testing.T) {
	dev, err := cpu.Open(cpu.Options{Lanes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, spoil := range map[string]func(s *lossShard) device.F32{
		"a token's gradient": func(s *lossShard) device.F32 { return s.du.Data.Slice(0, s.dim) },
		"items' gradients":   func(s *lossShard) device.F32 { return s.di.Data.Slice(0, 40*s.dim) },
		"sums":               func(s *lossShard) device.F32 { return device.F32{Addr: s.out.Addr + 8, N: 2} },
	} {
		s, err := openLossShard(dev, newLossProblem(1, 2, 20, 4, 90, 8), "float32")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.compute(); err != nil {
			t.Fatal(err)
		}
		right, err := s.errors()
		if err != nil {
			t.Fatal(err)
		}
		device.Zero(s.lane, spoil(s))
		wrong, err := s.errors()
		if err != nil {
			t.Fatal(err)
		}
		r := lossReport{Device: "cpu", Errors: right, Tolerance: lossTolerance("float32")}
		if err := r.verdict(); err != nil {
			t.Errorf("right results: %v", err)
		}
		if r.Errors = wrong; r.verdict() == nil || !strings.Contains(r.verdict().Error(), "the loss on cpu is wrong") {
			t.Errorf("%s: errors %v, verdict %v: want it to be found", name, wrong, r.verdict())
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	if r := (lossReport{Errors: lossErrors{Users: math.NaN()}, Tolerance: 1}); r.verdict() == nil {
		t.Error("NaN passed for right")
	}
}

func TestBenchLossRefuses(t *testing.T) {
	for want, args := range map[string]string{
		`--dtype "float16": allowed: float32, bfloat16`: "--dtype float16",
		"--users 0: allowed: 1 to 65536":                "--users 0",
		"--pool 0: allowed":                             "--pool 0",
		"--shards 3: allowed: 0 to 2":                   "--users 2 --shards 3",
		"--dim 5000: allowed":                           "--dim 5000",
		`--device "tpu": allowed`:                       "--device tpu",
	} {
		_, err := command(t, append([]string{"bench", "loss"}, strings.Fields(args)...)...)
		if code := exitCode(t.Context(), err); err == nil || code != exitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("bench loss %s: %v, exit code %d; want %q and %d", args, err, code, want, exitUsage)
		}
	}
}
