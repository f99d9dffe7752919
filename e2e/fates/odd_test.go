package fates

import (
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// TestOddArithmetic: a worker's updates have other bits than the class that it claims, and each of two members reads what it wrote. They go back to the newest
// checkpoint once for a step; the second time the job fails, with what each had both times. From the checkpoint, an honest worker comes to the same end.
func TestOddArithmetic(t *testing.T) {
	want := reference(t)
	inCluster(t, func(c *cluster) {
		dev := c.device()
		w0, w1 := c.worker("w0", 5), c.workerOn(dev, "w1", 5)
		j := c.submit(2)
		c.at(5, w0, w1)
		c.says(j, "step 4 committed")
		dev.odd.Store(true)
		c.goOn(5, w0, w1)
		j = c.until(j, rpcpb.JobState_JOB_STATE_FAILED)
		var from []int64
		for _, g := range j.Generations {
			from = append(from, g.FirstStep)
		}
		if !slices.Equal(from, []int64{0, 4, 4}) {
			t.Errorf("generations from steps %v, want 0, 4 and 4; history:\n%s", from, history(j))
		}
		c.wantHistory(j, "disagree about the state at step 6", "disagree about the state at step 5")
		for _, part := range []string{"at step 5 a second time: worker w0 had ", "; in generation 2 worker w0 had ", ", worker w1 had "} {
			if !strings.Contains(j.Reason, part) {
				t.Errorf("failed with %q, want %q in it", j.Reason, part)
			}
		}
		w1.stop()
		if err := <-w1.ended; err != nil {
			t.Error(err)
		}
		last := j.Checkpoints[len(j.Checkpoints)-1]
		if _, got := c.succeed(c.resume(1, "store/"+last.Directory, last.Step)); got != want {
			t.Errorf("resumed at step %d, it ends with state digest %s, undisturbed with %s", last.Step, got, want)
		}
	})
}
