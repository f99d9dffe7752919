package fates

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ringleader-dev/ringleader/worker"
)

// readiness notes how much memory a joiner's device had given away, and how many conversions of gradients it had made, when a generation was assigned, and when its ring stood.
type readiness struct {
	worker.Ignore
	dev              *device
	assigned, joined []int64
}

func (r *readiness) Assigned(worker.Membership) {
	r.assigned = append(r.assigned, r.dev.mallocs.Load(), r.dev.gradients.Load())
}
func (r *readiness) Joined(worker.Membership) {
	r.joined = append(r.joined, r.dev.mallocs.Load(), r.dev.gradients.Load())
}

// TestJoinerIsPrepared: a joiner has reserved all of its memory and made a step by itself before the generation begins that includes it.
func TestJoinerIsPrepared(t *testing.T) {
	inCluster(t, func(c *cluster) {
		w0, w1 := c.worker("w0", 3, 5), c.worker("w1", 3, 5)
		j := c.submit(2)
		c.at(3, w0, w1)
		r := &readiness{dev: c.device()}
		c.observed(r, r.dev, "w2")
		synctest.Wait()
		c.joinAfter(3, 5, w0, w1)
		j, _ = c.succeed(j)
		if len(j.Generations) != 2 || len(j.Generations[1].Members) != 3 {
			t.Fatalf("generations %v: want a second one of 3 members", j.Generations)
		}
		if len(r.assigned) != 2 || !slices.Equal(r.assigned, r.joined) || r.assigned[0] == 0 || r.assigned[1] == 0 {
			t.Errorf("allocations and gradients %v when the generation was assigned, %v when its ring stood: want the same, and some", r.assigned, r.joined)
		}
	})
}
