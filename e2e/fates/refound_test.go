package fates

import "testing"

// TestWorkersOutliveTheirCluster: the coordinators lost their disks and were founded anew at the same addresses, where terms and indices begin again.
// Workers that lived on take part as new ones would, whether they were idle or trained what nobody knows of any more.
func TestWorkersOutliveTheirCluster(t *testing.T) {
	inCluster(t, func(c *cluster) {
		c.worker("w0")
		c.succeed(c.submit(1, "what.seed=2")) // so that the index of the next job's assignment is above any of the next cluster's
		_, want := c.succeed(c.submit(1))

		c.refound() // w0 is idle
		_, got := c.succeed(c.submit(1))
		if got != want {
			t.Errorf("digest %s in the second cluster, %s in the first", got, want)
		}

		w1 := c.worker("w1", 6)
		lost := c.submit(2, "what.seed=3", "how.workers.min=2")
		c.at(6, w1)
		c.refound() // both train
		c.goOn(6, w1)
		_, got = c.succeed(c.submit(2, "how.workers.min=2"))
		if got != want {
			t.Errorf("digest %s in the third cluster, %s in the first", got, want)
		}
		if _, err := c.tool.Get(c.Context(), lost.Id); err == nil {
			t.Errorf("the third cluster knows the second one's job %s", lost.Id)
		}
	})
}
