package e2e

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// onCUDA skips a test unless the program under test has the CUDA backend. `make test-cuda` runs it on the emulated device.
func onCUDA(t *testing.T) {
	t.Helper()
	if os.Getenv(cudaVariable) == "" {
		t.Skip(cudaVariable + " is not set: run make test-cuda")
	}
}

// emulated skips a test that orders a device to fail, unless it is one that obeys; the order is for the processes that the test starts with it.
func emulated(t *testing.T, order string) (environment string) {
	t.Helper()
	if !strings.Contains(output(t, "devices"), "Emulated GPU") {
		t.Skip("only the emulated device fails when it is told to")
	}
	return "RINGLEADER_EMULATION=" + order
}

// The jobs of these tests are small, and patient: the emulated device is slow, and slower on a busy machine.
const cudaSteps = 20

var cudaSettings = []string{"what.shards=4", "how.device=cuda", "how.deadlines.hang=20s"}

// with are settings as flags.
func with(settings []string, more ...string) (flags []string) {
	for _, s := range settings {
		flags = append(flags, "--set", s)
	}
	return append(flags, more...)
}

// TestCUDAPromise: on GPUs, too, the bits depend on the job alone. A worker is killed, or its device is lost, and the other one ends with the
// bits of one worker that nothing befell.
func TestCUDAPromise(t *testing.T) {
	onCUDA(t)
	job := jobFile(t, cudaSteps)
	_, want := local(t, job, with(cudaSettings, "--workers", "1")...)

	t.Run("kill -9", func(t *testing.T) {
		_, r := local(t, job, with(cudaSettings, "--workers", "2", "--fault", "kill:worker:1@9")...)
		if len(r.Generations) != 2 || len(r.Generations[0].Members) != 2 || len(r.Generations[1].Members) != 1 || r.Generations[1].FirstStep != 9 {
			t.Errorf("generations %+v: want one of 2 members, and from step 9 one of 1", r.Generations)
		}
		if r.StateDigest != want.StateDigest {
			t.Errorf("state digest %s, undisturbed %s", r.StateDigest, want.StateDigest)
		}
	})

	t.Run("device lost", func(t *testing.T) {
		order := emulated(t, "fail=1500") // launches; a step has some two hundred of them
		d := startCoordinator(t)
		d.worker("good", "cuda:0")
		bad := d.worker("bad", "cuda:0", order)
		store, shown := d.train(job, cudaSettings...)
		if !regexp.MustCompile(`generation 2: worker bad lost: .*: the device is lost to this process;.* resumed at step [1-9][0-9]* on good\n`).MatchString(shown) {
			t.Errorf("the job's history does not tell that worker bad lost its device on the way:\n%s", shown)
		}
		last, code := bad.end()
		if code != 5 || !strings.HasPrefix(last, "ringleader: device cuda:0: run ") || !strings.Contains(last, "the device is lost to this process") {
			t.Errorf("the worker ended with code %d and %q: want 5 and what happened to device cuda:0", code, last)
		}
		if digest := strings.TrimSpace(output(t, "checkpoint", "digest", store)); digest != want.StateDigest {
			t.Errorf("state digest %s, undisturbed %s", digest, want.StateDigest)
		}
	})
}

// TestCUDAMixed: a CPU and a GPU train one job. Members compare their states at every step, and what they find unlike ends their generation:
// there is one, to the end. The history says that the result is one of this mix.
func TestCUDAMixed(t *testing.T) {
	onCUDA(t)
	d := startCoordinator(t)
	d.worker("host", "cpu")
	d.worker("gpu", "cuda:0")
	store, shown := d.train(jobFile(t, cudaSteps), append(slices.Clone(cudaSettings), "what.mixed=allow", "how.workers.min=2")...)
	mixed := regexp.MustCompile(`generation 1: started at step 0 on gpu, host; numerics classes are mixed: the result depends on who computes which shard\n`)
	if !mixed.MatchString(shown) || strings.Contains(shown, "generation 2") || strings.Contains(shown, "differs") || !strings.Contains(shown, "finished at step 20") {
		t.Errorf("want one generation of both workers, whose states never differ, and a word about the mix:\n%s", shown)
	}
	output(t, "checkpoint", "verify", store)
}

// TestCUDAMemory: of a job that does not fit, the user hears what was asked for, what there was, and what to lower.
func TestCUDAMemory(t *testing.T) {
	onCUDA(t)
	name, order, _ := strings.Cut(emulated(t, "memory=1"), "=")
	t.Setenv(name, order)
	job := jobFile(t, cudaSteps)
	for _, c := range []struct{ set, want string }{
		{"what.users_per_shard=2", `activations: allocate on cuda:0: asked for 0\.[1-9] MiB, free are 0\.[0-9] of 1\.0 MiB; lower what\.users_per_shard, what\.model\.window or`},
		{"what.model.item_hidden=4096", `reserve state of [0-9]+ parameters: allocate on cuda:0: asked for [0-9]\.[0-9] MiB, free are [01]\.[0-9] of 1\.0 MiB; lower what\.model\.width,`},
	} {
		_, stderr, err := try(t, append([]string{"local", "--job", job, "--dir", filepath.Join(t.TempDir(), "run")}, with(cudaSettings, "--set", c.set)...)...)
		if err == nil || !regexp.MustCompile("ringleader: job .*"+c.want).MatchString(stderr) {
			t.Errorf("with %s: %v\n%s\nwant %s", c.set, err, stderr, c.want)
		}
	}
}

// TestCUDALosses: on a GPU a job learns what it learns on a CPU.
func TestCUDALosses(t *testing.T) {
	onCUDA(t)
	const steps, tolerance = 200, 1e-5 // docs/cuda.md names them
	job := jobFile(t, steps)
	curve := func(device string) []float64 {
		dir, _ := local(t, job, with([]string{"what.shards=2", "how.deadlines.hang=20s", "how.device=" + device}, "--workers", "1")...)
		return losses(t, dir)
	}
	host, gpu := curve("cpu"), curve("cuda")
	if len(host) != steps || len(gpu) != steps || !(host[steps-1] < .99*host[0]) {
		t.Fatalf("%d and %d losses, from %v to %v: want %d, and falling", len(host), len(gpu), host[0], host[len(host)-1], steps)
	}
	for i := range host {
		if d := math.Abs(gpu[i]/host[i] - 1); !(d <= tolerance) {
			t.Fatalf("step %d: loss %v on the GPU, %v on the CPU", i+1, gpu[i], host[i])
		}
	}
	if slices.Equal(host, gpu) {
		t.Error("the curves are equal to the last bit: were both computed on the CPU?")
	}
}

// losses are those of all steps of a run.
func losses(t *testing.T, dir string) (list []float64) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(read(t, filepath.Join(dir, "loss.csv"))), "\n")
	for _, line := range lines[1:] {
		loss, err := strconv.ParseFloat(strings.Split(line, ",")[1], 64)
		noError(t, err)
		list = append(list, loss)
	}
	return list
}
