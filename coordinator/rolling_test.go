package coordinator

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// TestRollingRestart: the coordinators are restarted one after the other, and then one comes back without its disk. The gang makes a step in every
// tick, its checkpoints are committed, and nobody makes it a new generation.
func TestRollingRestart(t *testing.T) {
	tuned(t, 3, clocksDiffer, func(t *testing.T, c *cluster) {
		r := &ring{c: c, t: t, toys: map[string]*toy{}, again: map[string]time.Time{}, end: 120}
		for i := range 3 {
			r.spawn(fmt.Sprint("w", i))
		}
		c.eventually("all are attached", func() bool { return attached(c) == 3 })
		j := c.submit("", spec(t, workers(3, 3)))
		tick := func() { <-time.After(50 * time.Millisecond); synctest.Wait(); r.tick(); c.check() }
		for range 200 {
			if tick(); r.steps > 0 {
				break
			}
		}
		for i, a := range slices.Concat(c.peers, c.peers[:1]) {
			c.stop(a)
			for range 12 {
				before := r.steps
				if tick(); r.steps != before+1 {
					t.Fatalf("restart %d: %d steps in one tick, want one", i, r.steps-before)
				}
			}
			if i == 3 {
				c.wipe(a)
			}
			c.start(a)
			for range 12 {
				before := r.steps
				if tick(); r.steps != before+1 {
					t.Fatalf("restart %d, back: %d steps in one tick, want one", i, r.steps-before)
				}
			}
		}
		for range 2000 {
			if tick(); r.steps >= int(r.end) && c.get(j.Id).State == rpcpb.JobState_JOB_STATE_SUCCEEDED {
				break
			}
		}
		got := c.get(j.Id)
		if got.State != rpcpb.JobState_JOB_STATE_SUCCEEDED || len(got.Generations) != 1 || r.steps != int(r.end) {
			t.Errorf("%v after %d steps, generations %v; want one generation that succeeds in %d", got.State, r.steps, got.Generations, r.end)
		}
		c.same()
	})
}

// TestPendingDecisionIsTakenOnce: a member is lost, and the leader is cut off so many milliseconds after the others have said so: before it has
// decided, while its decision is replicated, after it has told one or all. There is one next generation, and all that hear of it hear of the same.
func TestPendingDecisionIsTakenOnce(t *testing.T) {
	for _, late := range []time.Duration{0, 2, 8, 34, 110} {
		late *= time.Millisecond
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			bubble(t, 3, func(t *testing.T, c *cluster) {
				w1, w2, w3 := c.worker("w1"), c.worker("w2"), c.worker("w3")
				c.eventually("all are attached", func() bool { return attached(c) == 3 })
				old := c.leader()
				j := c.submit("", spec(t, workers(2, 3)))
				a := w1.assign()
				w2.assign()
				w3.assign()
				w3.kill()
				w1.left(a, 7, rpcpb.LeftReason_LEFT_REASON_FAULT, "w3", "connection reset")
				w2.left(a, 7, rpcpb.LeftReason_LEFT_REASON_FAULT, "w3", "connection reset")
				<-time.After(late)
				c.net.Cut(old.Addr(), true)
				b1, b2 := w1.assign(), w2.assign()
				if b1.Generation != 2 || b2.Generation != 2 || b1.Index != b2.Index || b1.ResumeStep != 7 || len(b1.Members) != 2 {
					t.Errorf("assignments %v and %v", b1, b2)
				}
				c.eventually("the old leader has noticed", func() bool { return !old.Leading() })
				c.net.Cut(old.Addr(), false)
				c.same()
				<-time.After(5 * time.Second)
				for _, w := range []*fake{w1, w2} {
					w.mu.Lock()
					for _, m := range w.got { // of another leader, it may be said again
						if again := m.GetAssign(); again != nil && (again.Generation != 2 || again.Index != b1.Index) {
							t.Errorf("worker %s: %v after %v", w.id, again, b1)
						}
					}
					w.mu.Unlock()
				}
				if got := c.get(j.Id); len(got.Generations) != 2 {
					t.Errorf("generations %v, want two", got.Generations)
				}
			})
		})
	}
}

// TestSnapshotsUnderLoad: logs are compacted all the time while clients write, coordinators are restarted, and one loses its disk. No answer that was
// given is lost, and the replicas end equal.
func TestSnapshotsUnderLoad(t *testing.T) {
	tuned(t, 3, func(cfg *Config) { cfg.Raft.Snapshot = 16 }, func(t *testing.T, c *cluster) {
		c.leader()
		j := c.submit("", spec(t, nil))
		paused := false
		for round := range 6 {
			for range 45 { // 90 s: Raft looks every 30 to 60 s whether a snapshot is due
				paused = !paused
				want := map[bool]rpcpb.JobAction{true: rpcpb.JobAction_JOB_ACTION_PAUSE, false: rpcpb.JobAction_JOB_ACTION_RESUME}[paused]
				c.control(j.Id, want)
				<-time.After(2 * time.Second)
				state := map[bool]rpcpb.JobState{true: rpcpb.JobState_JOB_STATE_PAUSED, false: rpcpb.JobState_JOB_STATE_QUEUED}[paused]
				if got := c.get(j.Id).State; got != state {
					t.Fatalf("round %d: the job is %v, want %v", round, got, state)
				}
			}
			a := c.peers[round%3]
			c.stop(a)
			if round == 2 {
				c.wipe(a)
			}
			c.start(a)
			c.same()
			c.check()
		}
		for a, n := range c.nodes {
			first, err := n.disk.log.FirstIndex()
			if err != nil {
				t.Fatal(err)
			}
			if kept, err := n.disk.snapshots.List(); err != nil || len(kept) == 0 {
				t.Errorf("%s: %d snapshots, %v", a, len(kept), err)
			}
			if first == 1 {
				t.Errorf("%s: its log still begins with entry 1", a)
			}
		}
	})
}
