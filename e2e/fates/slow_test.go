package fates

import (
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// TestSlowWorker: the history says that a member keeps the others waiting, once, and when it no longer does.
func TestSlowWorker(t *testing.T) {
	inCluster(t, func(c *cluster) {
		var ws []*process
		for _, name := range []string{"w0", "w1", "w2"} {
			dev := c.device()
			dev.pause.Store(int64(10 * time.Millisecond))
			ws = append(ws, c.workerOn(dev, name, 40))
		}
		slow := &c.devices[1].pause
		slow.Store(int64(40 * time.Millisecond))
		j := c.submit(3, "what.steps=120")
		c.at(40, ws...)
		slow.Store(int64(10 * time.Millisecond))
		c.goOn(40, ws...)
		j = c.until(j, rpcpb.JobState_JOB_STATE_SUCCEEDED)
		c.wantHistory(j, "worker w1 on w1 is slow at step 10: 0.04 s a shard, others 0.01 s", "worker w1 is as fast as the others again at step ")
		if text := history(j); strings.Count(text, "slow") != 1 || strings.Count(text, "as fast as") != 1 {
			t.Errorf("want each said once:\n%s", text)
		}
		if len(j.Generations) != 1 {
			t.Errorf("generations %v: want no other for that", j.Generations)
		}
	})
}
