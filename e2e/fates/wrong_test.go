package fates

import (
	"fmt"
	"testing"
)

// TestWrongGradients: a bit of a gradient flips before the gradient is converted, on w1 of two or three workers. If each shard is computed by two, that shows before anybody
// applies the sum, the culprit is named if that can be told, and the result has the same bits. If not, it has others: no comparison of states shows it.
func TestWrongGradients(t *testing.T) {
	want := reference(t)
	for _, x := range []struct {
		workers int
		at      int64 // of w1's gradients
		every   int
		what    string // in the history
	}{
		{3, 1 + 2*2, 1, "worker w1: rank 1: gradients of shard 2 differ at step 2"}, // two of its own and two of w0's make a step
		{3, 3 + 2*2, 1, "worker w1: rank 1: gradients of shard 0 differ at step 2"},
		{3, 2 + 2, 2, "worker w1: rank 1: gradients of shard 3 differ at step 2"}, // the first step is not verified
		{2, 2 + 2*3, 1, "worker w1: rank 1: gradients of shard 4 differ at step 2"},
		{2, 4 + 2*3, 1, "gradients of shard 0 differ at step 2, and nobody can tell which is right"},
		{3, 3, 0, ""},
	} {
		t.Run(fmt.Sprintf("%d workers, gradient %d, every %d", x.workers, x.at, x.every), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				dev := c.device()
				dev.wrongAt.Store(x.at)
				c.worker("w0")
				c.workerOn(dev, "w1")
				if x.workers > 2 {
					c.worker("w2")
				}
				j, got := c.succeed(c.submit(x.workers, fmt.Sprintf("how.verify.every=%d", x.every)))
				if (got == want) != (x.every > 0) {
					t.Errorf("state digest %s, undisturbed %s; history:\n%s", got, want, history(j))
				}
				if g := j.Generations; x.every > 0 && (len(g) != 2 || len(g[1].Members) != x.workers || g[1].FirstStep != 1) {
					t.Errorf("generations %v: want a second one of all from step 1", g)
				}
				c.wantHistory(j, x.what)
			})
		})
	}
}

// TestConvertedFlips: a bit of a gradient flips after it was converted, and before it was summed over members. That member knows; the step is made again, with the same bits.
func TestConvertedFlips(t *testing.T) {
	want := reference(t)
	for workers := 1; workers <= 3; workers++ {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				dev := c.device()
				dev.flipAt.Store(int64(2*6/workers + 1)) // a conversion a shard
				c.workerOn(dev, "w0")
				for i := 1; i < workers; i++ {
					c.worker(fmt.Sprint("w", i))
				}
				j, got := c.succeed(c.submit(workers))
				if g := j.Generations; got != want || len(g) != 2 || len(g[1].Members) != workers || g[1].FirstStep != 2 {
					t.Errorf("state digest %s, undisturbed %s; generations %v: want a second one of all from step 2", got, want, g)
				}
				c.wantHistory(j, "rank 0: gave up: elements 0 to ", "of the gradient changed in memory after they were converted")
			})
		})
	}
}
