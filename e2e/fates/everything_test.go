package fates

import (
	"testing"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// everything that draws at random, or ties users and shards together, is on.
var everything = []string{
	"what.model.dropout=0.1", "what.negatives.in_batch=24", "what.negatives.random=16", "what.loss.logq=on", "what.optimizer.clip=0.2",
}

// precisions are those of matrix products; each has bits of its own.
var precisions = []string{"float32", "bfloat16"}

// TestEverythingOn is the promise with everything on: 1, 2 and 3 workers, a kill, and a run that is stopped and resumed on fewer workers end with the same
// bits.
func TestEverythingOn(t *testing.T) {
	seen := map[string]string{} // digest to precision
	for _, precision := range precisions {
		t.Run(precision, func(t *testing.T) {
			on := append([]string{"what.precision=" + precision}, everything...)
			want := digestOf(t, on, func(c *cluster) *rpcpb.JobInfo { c.worker("w0"); return c.submit(1) })
			if other, ok := seen[want]; ok {
				t.Errorf("precision %s has the same bits as %s", precision, other)
			}
			seen[want] = precision
			for name, run := range map[string]func(*cluster) *rpcpb.JobInfo{
				"2 workers":           func(c *cluster) *rpcpb.JobInfo { c.worker("w0"); c.worker("w1"); return c.submit(2) },
				"3 workers":           threeWorkers,
				"a worker is killed":  losesPower,
				"stopped and resumed": stoppedAndResumed,
			} {
				if got := digestOf(t, on, run); got != want {
					t.Errorf("%s: state digest %s, with one worker %s", name, got, want)
				}
			}
		})
	}
}

// TestEverythingIsOn: without any one of the switches the bits are others.
func TestEverythingIsOn(t *testing.T) {
	alone := func(set ...string) string {
		return digestOf(t, everything, func(c *cluster) *rpcpb.JobInfo { c.worker("w0"); return c.submit(1, set...) })
	}
	want := alone()
	for _, off := range []string{"what.model.dropout=0", "what.negatives.in_batch=0", "what.negatives.random=0", "what.loss.logq=off", "what.optimizer.clip=0"} {
		if got := alone(off); got == want {
			t.Errorf("%s: the state digest is the same, %s", off, got)
		}
	}
}

// digestOf is the final state digest of a job with the given fields.
func digestOf(t *testing.T, set []string, run func(*cluster) *rpcpb.JobInfo) (digest string) {
	t.Helper()
	inCluster(t, func(c *cluster) {
		c.set = set
		_, digest = c.succeed(run(c))
	})
	return digest
}

// stoppedAndResumed: a job that 3 workers ended early is continued by 2, as another job of the coordinator.
func stoppedAndResumed(c *cluster) *rpcpb.JobInfo {
	for _, name := range []string{"w0", "w1", "w2"} {
		c.worker(name)
	}
	j := c.until(c.submit(3, "how.stop_at=5"), rpcpb.JobState_JOB_STATE_SUCCEEDED)
	last := j.Checkpoints[len(j.Checkpoints)-1]
	if last.Step != 5 {
		c.Fatalf("stopped at step %d, want 5", last.Step)
	}
	j, _ = c.succeed(c.resume(3, "store/"+last.Directory, last.Step, "how.workers.max=2"))
	if g := j.Generations[0]; len(g.Members) != 2 || g.FirstStep != 5 {
		c.Errorf("generations %v: want one of 2 members from step 5", j.Generations)
	}
	return j
}
