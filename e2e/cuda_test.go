package e2e

import (
	"math"
	"os"
	"path/filepath"
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

// The jobs of these tests are small, and patient: the emulated device is slow, and slower on a busy machine.
const cudaSteps, cudaShards, patient = 20, "what.shards=4", "how.deadlines.hang=20s"

// TestCUDAPromise: on GPUs, too, the bits depend on the job alone. A worker is killed, or its device is lost, and the other one ends with the
// bits of one worker that nothing befell.
func TestCUDAPromise(t *testing.T) {
	onCUDA(t)
	job := jobFile(t, cudaSteps)
	set := []string{"--set", "how.device=cuda", "--set", cudaShards, "--set", patient}
	_, want := local(t, job, append(set, "--workers", "1")...)

	t.Run("kill -9", func(t *testing.T) {
		_, r := local(t, job, append(set, "--workers", "2", "--fault", "kill:worker:1@9")...)
		if len(r.Generations) != 2 || len(r.Generations[0].Members) != 2 || len(r.Generations[1].Members) != 1 || r.Generations[1].FirstStep != 9 {
			t.Errorf("generations %+v: want one of 2 members, and from step 9 one of 1", r.Generations)
		}
		if r.StateDigest != want.StateDigest {
			t.Errorf("state digest %s, undisturbed %s", r.StateDigest, want.StateDigest)
		}
	})

	t.Run("device lost", func(t *testing.T) {
		d := startCoordinator(t)
		d.worker("good", "cuda:0")
		bad := d.worker("bad", "cuda:0", "RINGLEADER_EMULATION=fail=1500") // counts launches
		store, shown := d.train(job, "how.device=cuda", cudaShards, patient)
		t.Log(shown)
		<-bad.done
		t.Log(bad.said.String(), bad.cmd.ProcessState.ExitCode())
		if digest := strings.TrimSpace(output(t, "checkpoint", "digest", store)); digest != want.StateDigest {
			t.Errorf("state digest %s, undisturbed %s", digest, want.StateDigest)
		}
	})
}

// TestCUDAMixed: a CPU and a GPU in one gang.
func TestCUDAMixed(t *testing.T) {
	onCUDA(t)
	d := startCoordinator(t)
	d.worker("host", "cpu")
	d.worker("gpu", "cuda:0")
	store, shown := d.train(jobFile(t, cudaSteps), "what.mixed=allow", "how.workers.min=2", cudaShards, patient)
	t.Log(store, shown)
}

func TestCUDAMemory(t *testing.T) {
	onCUDA(t)
	t.Setenv("RINGLEADER_EMULATION", "memory=1")
	stdout, stderr, err := try(t, "local", "--job", jobFile(t, cudaSteps), "--dir", filepath.Join(t.TempDir(), "run"), "--set", "how.device=cuda", "--set", cudaShards, "--set", patient)
	t.Log(stdout, stderr, err)
}

// TestCUDALosses: on a GPU a job learns what it learns on a CPU.
func TestCUDALosses(t *testing.T) {
	onCUDA(t)
	job := jobFile(t, 200)
	host, _ := local(t, job, "--workers", "1", "--set", "what.shards=2")
	gpu, _ := local(t, job, "--workers", "1", "--set", "what.shards=2", "--set", "how.device=cuda", "--set", patient)
	a, b := losses(t, host, 200), losses(t, gpu, 200)
	var worst float64
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i])/a[i])
	}
	t.Logf("the losses of %d steps differ by %.2g at most", len(a), worst)
}

// losses are those of all steps of a run.
func losses(t *testing.T, dir string, steps int) []float64 {
	t.Helper()
	var list []float64
	for _, line := range strings.Split(strings.TrimSpace(read(t, filepath.Join(dir, "loss.csv"))), "\n")[1:] {
		loss, err := strconv.ParseFloat(strings.Split(line, ",")[1], 64)
		noError(t, err)
		list = append(list, loss)
	}
	if len(list) != steps {
		t.Fatalf("%d losses in %s, want %d", len(list), dir, steps)
	}
	return list
}
