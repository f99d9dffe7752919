package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPromise is what Ringleader is for: one job, five clusters and fates, the same bits.
func TestPromise(t *testing.T) {
	job := jobFile(t, 60)
	type result struct{ name, digest, files string }
	var results []result
	add := func(name, dir string) {
		results = append(results, result{name, strings.TrimSpace(output(t, "checkpoint", "digest", dir)), tensorFiles(t, dir)})
	}
	for _, workers := range []string{"1", "2", "3"} {
		dir, _ := local(t, job, "--workers", workers)
		add(workers+" workers", dir)
	}
	dir, r := local(t, job, "--workers", "3", "--coordinators", "3", "--fault", "kill:worker:1@20", "--fault", "kill:leader@30", "--fault", "join:worker@40")
	add("3 workers, a worker and the leader killed, a worker joined", dir)
	if len(r.Generations) != 3 || len(r.Generations[1].Members) != 2 || len(r.Generations[2].Members) != 3 {
		t.Errorf("generations %+v: want 3, of 3, 2 and 3 members", r.Generations)
	}
	if len(r.Faults) != 3 {
		t.Errorf("faults %+v: want 3", r.Faults)
	}
	half, r := local(t, job, "--workers", "3", "--stop-at", "30")
	if r.Steps != 30 {
		t.Errorf("--stop-at 30 ended at step %d", r.Steps)
	}
	dir, r = local(t, job, "--workers", "2", "--resume", half)
	if r.Generations[0].FirstStep != 30 {
		t.Errorf("resumed at step %d, want 30", r.Generations[0].FirstStep)
	}
	add("stopped at 30, resumed on 2 workers", dir)

	for _, x := range results[1:] {
		if x.digest != results[0].digest {
			t.Errorf("state digest %s with %s, %s with %s", x.digest, x.name, results[0].digest, results[0].name)
		}
		if x.files != results[0].files {
			t.Errorf("safetensors files with %s:\n%swith %s:\n%s", x.name, x.files, results[0].name, results[0].files)
		}
	}
	for _, dir := range []string{half, dir} {
		output(t, "checkpoint", "verify", dir)
		output(t, "data", "audit", dir)
	}
}

// TestPromiseOfNarrowWords: TestPromise with words of 32 and 16 bits, at a learning rate that throws gradients beyond their exponents, so that steps are made again.
func TestPromiseOfNarrowWords(t *testing.T) {
	job := jobFile(t, 30)
	for _, reduction := range []string{"exact32", "exact16"} {
		set := func(args ...string) []string {
			return append(args, "--set", "what.reduction="+reduction, "--set", "what.optimizer.lr=0.5", "--set", "what.optimizer.warmup=0")
		}
		first, want := local(t, job, set("--workers", "1")...)
		if want.Widened < 2 || want.Widened == want.Steps {
			t.Errorf("%s: %d of %d steps took a second pass, want more than the first, and not all", reduction, want.Widened, want.Steps)
		}
		half, _ := local(t, job, set("--workers", "3", "--stop-at", "15")...)
		for name, args := range map[string][]string{
			"2 workers":         {"--workers", "2"},
			"3 workers, a kill": {"--workers", "3", "--fault", "kill:worker:1@10"},
			"resumed":           {"--workers", "2", "--resume", half},
		} {
			dir, got := local(t, job, set(args...)...)
			if got.StateDigest != want.StateDigest || tensorFiles(t, dir) != tensorFiles(t, first) {
				t.Errorf("%s, %s: state digest %s, with one worker %s; safetensors files:\n%s\nwith one worker:\n%s", reduction, name,
					got.StateDigest, want.StateDigest, tensorFiles(t, dir), tensorFiles(t, first))
			}
			output(t, "checkpoint", "verify", dir)
		}
	}
}

// TestPlainSumsBreakThePromise shows that TestPromise can fail: sums of floats depend on who adds what.
func TestPlainSumsBreakThePromise(t *testing.T) {
	job := jobFile(t, 20)
	for _, reduction := range []string{"float32", "bfloat16"} {
		_, one := local(t, job, "--workers", "1", "--set", "what.reduction="+reduction)
		_, three := local(t, job, "--workers", "3", "--set", "what.reduction="+reduction)
		if one.StateDigest == three.StateDigest {
			t.Errorf("%s: 1 and 3 workers both end with %s although their sums are rounded in different places", reduction, one.StateDigest)
		}
	}
}

// tensorFiles lists the newest checkpoint's safetensors files with their hashes.
func tensorFiles(t *testing.T, dir string) string {
	t.Helper()
	steps, err := filepath.Glob(filepath.Join(dir, "store", "step-*"))
	if err != nil || len(steps) == 0 {
		t.Fatalf("no checkpoint in %s: %v", dir, err)
	}
	files, err := filepath.Glob(filepath.Join(steps[len(steps)-1], "*.safetensors"))
	if err != nil || len(files) < 2 {
		t.Fatalf("safetensors files of %s: %v, %v", steps[len(steps)-1], files, err)
	}
	var b strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), filepath.Base(f))
	}
	return b.String()
}
