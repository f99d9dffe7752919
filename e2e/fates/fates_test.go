package fates

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
	"github.com/ringleader-dev/ringleader/worker"
)

// reference is the state digest of the tests' job, from a run of one worker.
func reference(t *testing.T) (digest string) {
	t.Helper()
	inCluster(t, func(c *cluster) {
		c.worker("w0")
		_, digest = c.succeed(c.submit(1))
	})
	return digest
}

// TestFates: whatever happens to the workers, the result has the same bits.
func TestFates(t *testing.T) {
	want := reference(t)
	for _, f := range []struct {
		name string
		run  func(c *cluster) *rpcpb.JobInfo
	}{
		{"three workers", threeWorkers},
		{"a member drains", drains},
		{"a member is told to drain", toldToDrain},
		{"a member loses its power", losesPower},
		{"the only worker drains", onlyOneDrains},
		{"a worker joins", joins},
		{"a joiner dies while the ring is made", diesInAssembly},
		{"a joiner hangs while the ring is made", hangsInAssembly},
		{"a device breaks", deviceBreaks},
		{"a state is corrupted", stateCorrupted},
		{"two states differ", twoDiffer},
		{"two states differ, and nobody can tell", nobodyCanTell},
		{"paused and resumed", pausedAndResumed},
		{"the store is away for a while", storeAway},
		{"the store is away at the end, and a member dies", storeAwayAtEnd},
	} {
		t.Run(f.name, func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				if j, got := c.succeed(f.run(c)); got != want {
					t.Errorf("state digest %s, undisturbed %s; history:\n%s", got, want, history(j))
				}
			})
		})
	}
}

func threeWorkers(c *cluster) *rpcpb.JobInfo {
	for _, name := range []string{"w0", "w1", "w2"} {
		c.worker(name)
	}
	j, _ := c.succeed(c.submit(3))
	if len(j.Generations) != 1 || len(j.Generations[0].Members) != 3 {
		c.Errorf("generations %v: want one of 3 members", j.Generations)
	}
	return j
}

// drains: SIGTERM. The worker leaves after the next step, and its process ends without an error.
func drains(c *cluster) *rpcpb.JobInfo { return withoutOne(c, func(w *process) { w.stop() }) }

// toldToDrain: by whoever runs the cluster, twice, as after the fall of a leader.
func toldToDrain(c *cluster) *rpcpb.JobInfo {
	return withoutOne(c, func(w *process) {
		for range 2 {
			if err := c.tool.Drain(c.Context(), w.name); err != nil {
				c.Error(err)
			}
		}
		if err := c.tool.Drain(c.Context(), "w9"); status.Code(err) != codes.NotFound {
			c.Errorf("drain of a worker that does not exist: %v", err)
		}
	})
}

func withoutOne(c *cluster, leave func(*process)) *rpcpb.JobInfo {
	w0, w1, w2 := c.worker("w0", 5), c.worker("w1", 5), c.worker("w2", 5)
	j := c.submit(3)
	c.at(5, w0, w1, w2)
	leave(w1)
	synctest.Wait()
	c.goOn(5, w0, w1, w2)
	if err := <-w1.ended; err != nil {
		c.Errorf("the drained worker ended with %v", err)
	}
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(j.Generations) != 2 || len(g.Members) != 2 || g.FirstStep != 6 {
		c.Errorf("generations %v: want a second one of 2 members from step 6", j.Generations)
	}
	c.wantHistory(j, "worker w1 drained")
	return j
}

func losesPower(c *cluster) *rpcpb.JobInfo {
	w0, w1, w2 := c.worker("w0", 5), c.worker("w1", 5), c.worker("w2", 5)
	j := c.submit(3)
	c.at(5, w0, w1, w2)
	c.power(w1)
	c.goOn(5, w0, w1, w2)
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(j.Generations) != 2 || g.FirstStep != 5 {
		c.Errorf("generations %v: want a second one from step 5", j.Generations)
	}
	return j
}

// onlyOneDrains: nobody else holds the state, so the worker stores it before it leaves.
func onlyOneDrains(c *cluster) *rpcpb.JobInfo {
	w0 := c.worker("w0", 5)
	j := c.submit(1)
	c.at(5, w0)
	w0.stop()
	synctest.Wait()
	c.goOn(5, w0)
	if err := <-w0.ended; err != nil {
		c.Errorf("the drained worker ended with %v", err)
	}
	c.worker("w1")
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; g.FirstStep != 6 {
		c.Errorf("generations %v: want the last one from step 6", j.Generations)
	}
	return j
}

func joins(c *cluster) *rpcpb.JobInfo {
	w0 := c.worker("w0", 2, 5)
	j := c.submit(1)
	c.at(2, w0)
	c.worker("w1")
	c.joinAfter(2, 5, w0)
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(g.Members) != 2 || g.FirstStep != 6 {
		c.Errorf("generations %v: want the last one of 2 members from step 6", j.Generations)
	}
	return j
}

// diesInAssembly: a joiner dies as soon as it hears that it is one. The others wait for it in a ring that does not stand yet.
func diesInAssembly(c *cluster) *rpcpb.JobInfo {
	w0, w1 := c.worker("w0", 2, 5), c.worker("w1", 2, 5)
	j := c.submit(2)
	c.at(2, w0, w1)
	c.ghost("w2", true)
	c.joinAfter(2, 5, w0, w1)
	return c.withoutGhost(j)
}

// hangsInAssembly: it is connected and does nothing.
func hangsInAssembly(c *cluster) *rpcpb.JobInfo {
	w0, w1 := c.worker("w0", 2, 5), c.worker("w1", 2, 5)
	j := c.submit(2)
	c.at(2, w0, w1)
	if _, err := c.net.Listen("w2:1"); err != nil { // nobody accepts
		c.Fatal(err)
	}
	c.ghost("w2", false)
	c.joinAfter(2, 5, w0, w1)
	return c.withoutGhost(j)
}

// withoutGhost wants the generation after the one with the ghost long before the deadline for assembling, on the cluster's clock.
func (c *cluster) withoutGhost(j *rpcpb.JobInfo) *rpcpb.JobInfo {
	c.Helper()
	j, _ = c.succeed(j)
	if len(j.Generations) < 3 || len(j.Generations[1].Members) != 3 {
		c.Fatalf("generations %v: want a second one of 3 members", j.Generations)
	}
	a, b := j.Generations[1], j.Generations[2]
	if took := time.Duration(b.CreatedMs-a.CreatedMs) * time.Millisecond; took > 6*time.Second || len(b.Members) != 2 {
		c.Errorf("after the loss of a joiner the next generation came within %v with %d members; want seconds and 2; history:\n%s", took, len(b.Members), history(j))
	}
	return j
}

// deviceBreaks: the process ends with the error; the others go on.
func deviceBreaks(c *cluster) *rpcpb.JobInfo {
	dev := c.device()
	w0, w1 := c.worker("w0", 5), c.workerOn(dev, "w1", 5)
	j := c.submit(2)
	c.at(5, w0, w1)
	dev.broken.Store(true)
	c.goOn(5, w0, w1)
	if err := <-w1.ended; !errors.Is(err, errBroken) || !errors.As(err, new(*worker.DeviceError)) {
		c.Errorf("the worker with the broken device ended with %v", err)
	}
	j, _ = c.succeed(j)
	c.wantHistory(j, errBroken.Error())
	return j
}

// stateCorrupted: the others name the member whose state differs; it gets theirs.
func stateCorrupted(c *cluster) *rpcpb.JobInfo {
	dev := c.device()
	w0, w1, w2 := c.worker("w0", 5), c.workerOn(dev, "w1", 5), c.worker("w2", 5)
	j := c.submit(3)
	c.at(5, w0, w1, w2)
	dev.corrupt.Store(true)
	c.goOn(5, w0, w1, w2)
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(j.Generations) != 2 || len(g.Members) != 3 || g.FirstStep != 5 {
		c.Errorf("generations %v: want a second one of all 3 from step 5", j.Generations)
	}
	c.wantHistory(j, "state differs from the other members'")
	return j
}

// twoDiffer: of two members, the one whose state is not what it has written knows that it is wrong, and gets the other's.
func twoDiffer(c *cluster) *rpcpb.JobInfo {
	dev := c.device()
	w0, w1 := c.worker("w0", 6), c.workerOn(dev, "w1", 6)
	j := c.submit(2)
	c.at(6, w0, w1)
	c.says(j, "step 4 committed")
	dev.corrupt.Store(true)
	c.goOn(6, w0, w1)
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(j.Generations) != 2 || len(g.Members) != 2 || g.FirstStep != 6 {
		c.Errorf("generations %v: want a second one of both from step 6", j.Generations)
	}
	c.wantHistory(j, "worker w1: rank 1: state changed in memory")
	return j
}

// nobodyCanTell: a member applied an update to a moment that flipped after it was compared, and both states are what was written. Neither is used, whoever
// noticed first: the newest checkpoint is.
func nobodyCanTell(c *cluster) *rpcpb.JobInfo {
	dev := c.device()
	w0, w1 := c.worker("w0", 6), c.workerOn(dev, "w1", 6)
	j := c.submit(2)
	c.at(6, w0, w1)
	c.says(j, "step 4 committed")
	dev.late.Store(true)
	c.goOn(6, w0, w1)
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; len(j.Generations) != 2 || len(g.Members) != 2 || g.FirstStep != 4 {
		c.Errorf("generations %v: want a second one of both from step 4", j.Generations)
	}
	c.wantHistory(j, "rank 0 has ", ", rank 1 has ", "no worker holds the state")
	return j
}

func pausedAndResumed(c *cluster) *rpcpb.JobInfo {
	w0, w1 := c.worker("w0", 5), c.worker("w1", 5)
	j := c.submit(2)
	c.at(5, w0, w1)
	c.control(j, rpcpb.JobAction_JOB_ACTION_PAUSE)
	synctest.Wait()
	c.goOn(5, w0, w1)
	j = c.until(j, rpcpb.JobState_JOB_STATE_PAUSED)
	if n := len(j.Checkpoints); n == 0 || j.Checkpoints[n-1].Step != 6 {
		c.Errorf("checkpoints %v of the paused job: want one of step 6", j.Checkpoints)
	}
	c.control(j, rpcpb.JobAction_JOB_ACTION_RESUME)
	j, _ = c.succeed(j)
	if g := j.Generations[len(j.Generations)-1]; g.FirstStep != 6 {
		c.Errorf("resumed at step %d, want 6", g.FirstStep)
	}
	return j
}

// storeAway: a checkpoint that cannot be stored is skipped and reported, and nobody waits for it.
func storeAway(c *cluster) *rpcpb.JobInfo {
	w0, w1 := c.worker("w0", 7, 9), c.worker("w1", 7, 9)
	c.refusePuts()
	j := c.submit(2)
	c.at(7, w0, w1)
	c.says(j, "checkpoint at step 4 skipped")
	<-time.After(5 * time.Second) // until the other member has given it up too: one that is still being tried might succeed now, and stand in the way of the next
	synctest.Wait()
	c.store.Inject(nil)
	c.goOn(7, w0, w1)
	c.at(9, w0, w1)
	c.says(j, "checkpoint at step 8 committed")
	c.goOn(9, w0, w1)
	return j
}

// storeAwayAtEnd: the final checkpoint is tried until it is stored; a member that dies meanwhile is noticed although nobody steps.
func storeAwayAtEnd(c *cluster) *rpcpb.JobInfo {
	w0, w1 := c.worker("w0", steps), c.worker("w1", steps)
	j := c.submit(2)
	c.at(steps, w0, w1)
	c.refusePuts()
	c.goOn(steps, w0, w1)
	j = c.until(j, rpcpb.JobState_JOB_STATE_FINISHING)
	c.power(w1)
	c.says(j, "generation 2: worker w1 lost")
	c.store.Inject(nil)
	return j
}

// TestCancelAtEnd: a job whose final checkpoint cannot be stored can be given up, and its workers are free for the next.
func TestCancelAtEnd(t *testing.T) {
	inCluster(t, func(c *cluster) {
		w0, w1 := c.worker("w0", steps), c.worker("w1", steps)
		j := c.submit(2)
		c.at(steps, w0, w1)
		c.refusePuts()
		c.goOn(steps, w0, w1)
		j = c.until(j, rpcpb.JobState_JOB_STATE_FINISHING)
		c.control(j, rpcpb.JobAction_JOB_ACTION_CANCEL)
		c.until(j, rpcpb.JobState_JOB_STATE_CANCELLED)
		c.store.Inject(nil)
		c.succeed(c.submit(2, "what.seed=7"))
	})
}

// TestCancel: a job that is cancelled between two steps frees its workers, which drop its state for the next job's.
func TestCancel(t *testing.T) {
	inCluster(t, func(c *cluster) {
		w0, w1 := c.worker("w0", 5), c.worker("w1", 5)
		j := c.submit(2)
		c.at(5, w0, w1)
		c.control(j, rpcpb.JobAction_JOB_ACTION_CANCEL)
		synctest.Wait()
		c.goOn(5, w0, w1)
		c.until(j, rpcpb.JobState_JOB_STATE_CANCELLED)
		c.succeed(c.submit(2, "what.seed=7"))
	})
}

// TestNaN: the job ends before the update that would have read it, says which shard and tensor had it, and leaves the state before it as a checkpoint, from
// which the same job comes to the same end.
func TestNaN(t *testing.T) {
	want := reference(t)
	inCluster(t, func(c *cluster) {
		dev := c.device()
		w0, w1 := c.worker("w0", 5), c.workerOn(dev, "w1", 5)
		j := c.submit(2)
		c.at(5, w0, w1)
		dev.poison.Store(true)
		c.goOn(5, w0, w1)
		j = c.until(j, rpcpb.JobState_JOB_STATE_FAILED)
		// w1 has the second half of the shards, and computes them in order.
		if want := "step 6: NaN in the gradient of shard 3, first in tensor embeddings.action.weight; the state at step 5 is kept"; !strings.Contains(j.Reason, want) {
			t.Errorf("failed with %q, want %q", j.Reason, want)
		}
		last := j.Checkpoints[len(j.Checkpoints)-1]
		if last.Step != 5 || last.Final {
			t.Fatalf("the newest checkpoint is of step %d, final %v; want 5, false; history:\n%s", last.Step, last.Final, history(j))
		}
		if _, got := c.succeed(c.resume(2, "store/"+last.Directory, last.Step)); got != want {
			t.Errorf("resumed, it ends with state digest %s, undisturbed with %s", got, want)
		}
	})
}

// TestOverflow: gradients that the sums have no room for, without any help from the test, end the job as NaN does. With so many shards there is room
// for 8, and at so low a temperature no first step stays within it.
func TestOverflow(t *testing.T) {
	inCluster(t, func(c *cluster) {
		c.worker("w0")
		c.worker("w1")
		j := c.until(c.submit(2, "what.shards=4096", "what.model.temperature=0.01"), rpcpb.JobState_JOB_STATE_FAILED)
		if want := "step 1: infinity or a value beyond the range of exact64 (8) in the gradient of shard 0, first in tensor input.weight"; !strings.Contains(j.Reason, want) {
			t.Errorf("failed with %q, want %q", j.Reason, want)
		}
		if len(j.Checkpoints) != 0 {
			t.Errorf("checkpoints %v of a job without a step", j.Checkpoints)
		}
	})
}

// TestNaNWithoutAStore: what cannot be stored is not waited for for ever, and not said to be kept.
func TestNaNWithoutAStore(t *testing.T) {
	inCluster(t, func(c *cluster) {
		dev := c.device()
		w0, w1 := c.worker("w0", 5), c.workerOn(dev, "w1", 5)
		j := c.submit(2, "how.deadlines.store=100ms")
		c.at(5, w0, w1)
		c.refusePuts()
		dev.poison.Store(true)
		c.goOn(5, w0, w1)
		j = c.until(j, rpcpb.JobState_JOB_STATE_FAILED)
		if want := "the state at step 5 could not be stored"; !strings.Contains(j.Reason, want) || strings.Contains(j.Reason, "is kept") {
			t.Errorf("failed with %q, want %q", j.Reason, want)
		}
		c.store.Inject(nil)
		c.succeed(c.submit(2, "what.seed=7"))
	})
}

// TestOtherClass: a job that began on one numerics class is not continued on another.
func TestOtherClass(t *testing.T) {
	inCluster(t, func(c *cluster) {
		w0 := c.worker("w0", 5)
		j := c.submit(1)
		c.at(5, w0)
		other := c.device()
		other.class = "another build"
		c.workerOn(other, "w1")
		c.eventually("2 workers attached", func() bool { return c.attached() == 2 })
		c.control(j, rpcpb.JobAction_JOB_ACTION_PAUSE)
		synctest.Wait()
		c.goOn(5, w0)
		j = c.until(j, rpcpb.JobState_JOB_STATE_PAUSED)
		w0.stop()
		if err := <-w0.ended; err != nil {
			t.Error(err)
		}
		c.control(j, rpcpb.JobAction_JOB_ACTION_RESUME)
		c.eventually("the job waits", func() bool {
			now, err := c.tool.Get(c.Context(), j.Id)
			return err == nil && strings.HasPrefix(now.Reason, "waiting: 0 of min 1 workers")
		})
		c.worker("w2")
		j, _ = c.succeed(j)
		for _, g := range j.Generations {
			if slices.Contains(g.Members, "w1") {
				t.Errorf("generation %d has the worker of another class", g.Number)
			}
		}
	})
}

// TestEnds: what ends a worker for good ends it with an error, and leaves nothing behind.
func TestEnds(t *testing.T) {
	t.Run("wrong token", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			l, err := c.net.Listen("w0:1")
			if err != nil {
				t.Fatal(err)
			}
			err = worker.Run(c.Context(), worker.Config{ID: "w0", Coordinators: []string{address}, Token: "not the cluster's token", Listener: l, Advertise: "w0:1",
				Dir: home, Device: c.device(), OpenStore: c.open, Log: slog.New(slog.DiscardHandler), Dial: c.net.Dialer("w0:1")})
			if err == nil || !strings.Contains(err.Error(), "cluster token missing or wrong") {
				t.Errorf("ended with %v", err)
			}
		})
	})
	t.Run("listener fails in the middle of a job", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			w0 := c.worker("w0", 5)
			c.submit(1)
			c.at(5, w0)
			if err := w0.listener.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-w0.ended; err == nil || !strings.Contains(err.Error(), "serve peers") {
				t.Errorf("ended with %v", err)
			}
		})
	})
	t.Run("incomplete config", func(t *testing.T) {
		err := worker.Run(t.Context(), worker.Config{ID: "w0"})
		for _, field := range []string{"Coordinators", "Token", "Listener", "Advertise", "Dir", "Device", "OpenStore", "Log"} {
			if err == nil || !strings.Contains(err.Error(), field+" is not set") {
				t.Errorf("%v: does not name %s", err, field)
			}
		}
	})
}
