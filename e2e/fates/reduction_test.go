package fates

import (
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// spike is a learning rate that throws gradients about: steps after the first take a second pass, too.
var spike = []string{"what.optimizer.lr=0.5", "what.optimizer.schedule=constant", "what.optimizer.warmup=0"}

// TestReductions is the promise with narrow words, whose exponents are part of the state: whoever computes, dies in whichever pass, copies the state or reads
// it from a checkpoint ends with the same bits, and widens the same steps.
func TestReductions(t *testing.T) {
	seen := map[string]string{reference(t): "exact64"}
	for _, reduction := range []string{"exact32", "exact16"} {
		t.Run(reduction, func(t *testing.T) {
			set := append([]string{"what.reduction=" + reduction}, spike...)
			var widened []ringleader.Step
			want := digestOf(t, set, func(c *cluster) *rpcpb.JobInfo {
				w := c.worker("w0")
				j := c.until(c.submit(1), rpcpb.JobState_JOB_STATE_SUCCEEDED)
				widened = w.widenedSteps()
				return j
			})
			if len(widened) < 2 || widened[0] != 1 || len(widened) == steps {
				t.Errorf("steps %v took a second pass: want the first, which knows no exponents, some more, but not all", widened)
			}
			if other, ok := seen[want]; ok {
				t.Errorf("%s has the same bits as %s", reduction, other)
			}
			seen[want] = reduction
			for name, run := range map[string]func(*cluster) *rpcpb.JobInfo{
				"2 workers":                        func(c *cluster) *rpcpb.JobInfo { c.worker("w0"); c.worker("w1"); return c.submit(2) },
				"3 workers":                        threeWorkers,
				"a member loses its power":         losesPower,
				"a worker joins":                   joins,
				"paused and resumed":               pausedAndResumed,
				"stopped and resumed":              stoppedAndResumed,
				"a device breaks in a second pass": breaksWidening,
			} {
				t.Run(name, func(t *testing.T) {
					if got := digestOf(t, set, run); got != want {
						t.Errorf("state digest %s, with one worker %s", got, want)
					}
				})
			}
		})
	}
}

// breaksWidening: one of two members breaks in the middle of the second pass of a step; the other one makes the step alone, from its first pass on.
func breaksWidening(c *cluster) *rpcpb.JobInfo {
	w0, dev := c.worker("w0"), c.device()
	dev.breakAt.Store(3 + 2) // it has three shards, and is at the second one for the second time
	w1 := c.workerOn(dev, "w1")
	j := c.submit(2)
	if err := <-w1.ended; err == nil {
		c.Error("the worker whose device broke ended without an error")
	}
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(j.Generations) < 2 || len(g.Members) != 1 || g.FirstStep != 0 {
		c.Errorf("generations %v: want the last one of 1 member from step 0", j.Generations)
	}
	if s := w0.widenedSteps(); len(s) == 0 || s[0] != 1 {
		c.Errorf("steps %v took a second pass: want the first among them", s)
	}
	return j
}
