package coordinator

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func TestSubmissionSurvivesTheLeader(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		text := spec(t, nil)
		first := c.submit("key", text)
		old := c.leader()
		c.net.Cut(old.Addr(), true)
		lost := time.Now()
		again := c.submit("key", text) // finds the new leader by itself
		if again.Id != first.Id {
			t.Fatalf("submitted twice: %s and %s", first.Id, again.Id)
		}
		if d := time.Since(lost); d > 3*time.Second {
			t.Fatalf("a new leader took %v", d)
		}
		_, err := c.tool.Submit(t.Context(), &rpcpb.SubmitJobRequest{Key: "key", Spec: spec(t, workers(2, 2))})
		if status.Code(err) != codes.AlreadyExists {
			t.Fatalf("the same key with another spec: %v", err)
		}
		if l, err := c.tool.List(t.Context()); err != nil || len(l) != 1 {
			t.Fatalf("%d jobs, %v", len(l), err)
		}
		c.eventually("the old leader has noticed", func() bool { return !old.Leading() })
		c.net.Cut(old.Addr(), false)
		c.same()
	})
}

func TestJobIsTrainedAndCommittedOnce(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		w1, w2 := c.worker("w1"), c.worker("w2")
		c.leader()
		j := c.submit("", spec(t, workers(2, 2)))
		var seen []string
		watched := make(chan error, 1)
		go func() {
			watched <- c.tool.Watch(t.Context(), j.Id, func(i *rpcpb.JobInfo) error {
				if s := i.State.String(); len(seen) == 0 || seen[len(seen)-1] != s {
					seen = append(seen, s)
				}
				return nil
			})
		}()
		a, a2 := w1.assign(), w2.assign()
		<-time.After(time.Second) // changes in quick succession would be shown as one
		if a.Generation != 1 || len(a.Members) != 2 || a.Members[0].WorkerId != "w1" || len(a.Members[0].Shards) != 3 || a.ResumeStep != 0 || a.Index == 0 || a.Term != a2.Term {
			t.Fatalf("assignment %v", a)
		}
		w1.progress(a, 1)
		c.eventually("progress is shown", func() bool { return c.get(j.Id).Progress.GetStep() == 1 })

		for _, m := range checkpoint(a, 10, "d10", false, false, w1, w2) {
			if m.Step != 10 || m.Final {
				t.Fatalf("committed %v", m)
			}
		}
		w2.parts(a, 10, "d10", false, false) // it has not heard the answer: it gets another, and nothing is written again
		take(w2, (*rpcpb.AttachResponse).GetCommitted)
		checkpoint(a, 20, "d20", false, false, w1, w2)
		if m := checkpoint(a, 30, "d30", false, false, w1, w2)[0]; len(m.Retire) != 1 || m.Retire[0] != "step-00000010-d10" {
			t.Fatalf("retire %v", m.Retire)
		}
		w1.parts(a, 100, "d100", true, false)
		c.wantState(j.Id, rpcpb.JobState_JOB_STATE_FINISHING)
		<-time.After(time.Second)
		if m := checkpoint(a, 100, "d100", true, false, w1, w2)[1]; !m.Final {
			t.Fatalf("committed %v", m)
		}
		take(w1, (*rpcpb.AttachResponse).GetRelease)
		take(w2, (*rpcpb.AttachResponse).GetRelease)
		quiet(w1, (*rpcpb.AttachResponse).GetWriteManifest)
		end := c.wantState(j.Id, rpcpb.JobState_JOB_STATE_SUCCEEDED)
		if n := len(end.Checkpoints); n != 2 || !end.Checkpoints[1].Final || len(end.Generations) != 1 || end.EndedMs == 0 {
			t.Fatalf("at the end %v", end)
		}
		if err := <-watched; err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(seen, " "); !strings.HasSuffix(got, "JOB_STATE_RUNNING JOB_STATE_FINISHING JOB_STATE_SUCCEEDED") {
			t.Fatalf("watched %s", got)
		}
		c.same()
	})
}

func TestKilledWorkerIsReplacedAtOnce(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w1, w2, w3 := c.worker("w1"), c.worker("w2"), c.worker("w3")
		c.eventually("all are attached", func() bool { return attached(c) == 3 })
		j := c.submit("", spec(t, workers(2, 2)))
		a := w1.assign()
		w2.assign()
		w1.progress(a, 40)
		w2.kill()
		killed := time.Now()
		w1.left(a, 41, rpcpb.LeftReason_LEFT_REASON_FAULT, "w2", "connection reset")
		b := w1.assign()
		if d := time.Since(killed); d > 100*time.Millisecond {
			t.Fatalf("the next generation took %v", d)
		}
		if b.Generation != 2 || b.ResumeStep != 41 || len(b.Holders) != 1 || b.Holders[0] != 0 || b.Members[1].WorkerId != "w3" || b.Index <= a.Index {
			t.Fatalf("assignment %v", b)
		}
		if c3 := w3.assign(); c3.Generation != 2 {
			t.Fatalf("assignment %v", c3)
		}
		if g := c.get(j.Id).Generations; len(g) != 2 || g[1].Reason != "worker w2 lost: connection reset; joined: w3; resumed at step 41 on w1, w3" {
			t.Fatalf("generations %v", g)
		}
		// The first gang's parts are of no interest any more, nor is what it says about the job.
		w1.parts(a, 42, "dx", true, false)
		w1.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_JobFailed{JobFailed: &rpcpb.JobFailed{JobId: j.Id, Generation: 1, Error: "old"}}})
		checkpoint(b, 50, "d50", false, false, w1, w3)
	})
}

func attached(c *cluster) int {
	r, err := c.tool.Cluster(c.t.Context())
	if err != nil {
		return -1
	}
	n := 0
	for _, w := range r.Workers {
		if w.Attached {
			n++
		}
	}
	return n
}

func TestGangGrows(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w1 := c.worker("w1")
		c.submit("", spec(t, nil))
		a := w1.assign()
		w1.progress(a, 1)
		w2 := c.worker("w2")
		ch := take(w1, (*rpcpb.AttachResponse).GetChange)
		if ch.Action != rpcpb.ChangeAction_CHANGE_ACTION_REGROUP || ch.Generation != 1 {
			t.Fatal(ch)
		}
		<-time.After(3 * time.Second)
		quiet(w1, (*rpcpb.AttachResponse).GetChange) // asked once
		w1.left(a, 3, rpcpb.LeftReason_LEFT_REASON_PLANNED, "", "")
		if b := w2.assign(); len(b.Members) != 2 || b.ResumeStep != 3 || b.Holders[0] != 0 {
			t.Fatal(b)
		}
		w1.assign()
	})
}

func TestLeaderChangeDisturbsNobody(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		w1, w2 := c.worker("w1"), c.worker("w2")
		old := c.leader()
		j := c.submit("", spec(t, workers(2, 2)))
		a := w1.assign()
		w2.assign()
		w1.parts(a, 10, "d10", false, false)
		w2.parts(a, 10, "d10", false, false)
		take(w1, (*rpcpb.AttachResponse).GetWriteManifest)
		c.net.Cut(old.Addr(), true)
		c.eventually("both are attached again", func() bool {
			w1.mu.Lock()
			defer w1.mu.Unlock()
			w2.mu.Lock()
			defer w2.mu.Unlock()
			return w1.streams == 2 && w2.streams == 2
		})
		// As a worker should, they say again what was not answered. The commit counts once.
		checkpoint(a, 10, "d10", false, false, w1, w2)
		<-time.After(5 * time.Second)
		quiet(w1, (*rpcpb.AttachResponse).GetAssign)
		got := c.get(j.Id)
		if len(got.Generations) != 1 || len(got.Checkpoints) != 1 || got.State != rpcpb.JobState_JOB_STATE_RUNNING {
			t.Fatalf("%v", got)
		}
		commits := 0
		for _, e := range got.Events {
			if strings.Contains(e.Text, "committed") {
				commits++
			}
		}
		if commits != 1 {
			t.Fatalf("%d commits: %v", commits, got.Events)
		}
	})
}

func TestReportToADeadLeaderIsRepeated(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		w1, w2 := c.worker("w1"), c.worker("w2")
		c.eventually("both are attached", func() bool { return attached(c) == 2 })
		old := c.leader()
		c.submit("", spec(t, workers(1, 2)))
		a := w1.assign()
		w2.assign()
		// The leader and a worker vanish in one moment.
		c.net.Cut(old.Addr(), true)
		w2.kill()
		w1.left(a, 7, rpcpb.LeftReason_LEFT_REASON_FAULT, "w2", "connection reset")
		b := w1.assign()
		if b.Generation != a.Generation+1 || b.ResumeStep != 7 || len(b.Members) != 1 || b.Term <= a.Term {
			t.Fatalf("assignment %v", b)
		}
	})
}

func TestDifferentStatesFailTheJob(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w1, w2 := c.worker("w1"), c.worker("w2")
		c.eventually("all are attached", func() bool { return attached(c) == 2 })
		j := c.submit("", spec(t, workers(2, 2)))
		a := w1.assign()
		w1.parts(a, 10, "aaaa", false, false)
		w2.parts(a, 10, "bbbb", false, false)
		got := c.wantState(j.Id, rpcpb.JobState_JOB_STATE_FAILED)
		if !strings.Contains(got.Reason, "aaaa") || !strings.Contains(got.Reason, "bbbb") || len(got.Checkpoints) != 0 {
			t.Fatal(got)
		}
		take(w1, (*rpcpb.AttachResponse).GetRelease)
		quiet(w1, (*rpcpb.AttachResponse).GetWriteManifest)
	})
}

func TestPauseResumeCancel(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w1 := c.worker("w1")
		j := c.submit("", spec(t, nil))
		a := w1.assign()
		c.control(j.Id, rpcpb.JobAction_JOB_ACTION_PAUSE)
		if ch := take(w1, (*rpcpb.AttachResponse).GetChange); ch.Action != rpcpb.ChangeAction_CHANGE_ACTION_PAUSE {
			t.Fatal(ch)
		}
		if reason := c.get(j.Id).Reason; !strings.HasPrefix(reason, "pause asked for") {
			t.Errorf("while the gang is at its step, the job's reason is %q", reason)
		}
		checkpoint(a, 12, "d12", false, true, w1)
		take(w1, (*rpcpb.AttachResponse).GetRelease)
		c.wantState(j.Id, rpcpb.JobState_JOB_STATE_PAUSED)
		<-time.After(time.Second)
		quiet(w1, (*rpcpb.AttachResponse).GetAssign)
		c.control(j.Id, rpcpb.JobAction_JOB_ACTION_RESUME)
		b := w1.assign()
		if b.ResumeStep != 12 || b.ResumeUrl != "file:///store/step-00000012-d12" || len(b.Holders) != 0 {
			t.Fatal(b)
		}
		c.control(j.Id, rpcpb.JobAction_JOB_ACTION_CANCEL)
		if ch := take(w1, (*rpcpb.AttachResponse).GetChange); ch.Action != rpcpb.ChangeAction_CHANGE_ACTION_CANCEL {
			t.Fatal(ch)
		}
		if reason := c.get(j.Id).Reason; !strings.HasPrefix(reason, "cancel asked for") {
			t.Errorf("while the gang is at its step, the job's reason is %q", reason)
		}
		w1.left(b, 13, rpcpb.LeftReason_LEFT_REASON_PLANNED, "", "")
		take(w1, (*rpcpb.AttachResponse).GetRelease)
		c.wantState(j.Id, rpcpb.JobState_JOB_STATE_CANCELLED)
	})
}

func TestStoreTroubleIsReportedAndAbandoned(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w1, w2 := c.worker("w1"), c.worker("w2")
		j := c.submit("", spec(t, workers(2, 2)))
		a := w1.assign()
		w1.parts(a, 10, "d10", false, false)
		w2.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_CheckpointFailed{CheckpointFailed: &rpcpb.CheckpointFailed{JobId: j.Id, Generation: 1, Step: 10, Error: "store full"}}})
		if m := take(w1, (*rpcpb.AttachResponse).GetCheckpointAbandoned); m.Step != 10 || m.Error != "store full" {
			t.Fatal(m)
		}
		got := c.get(j.Id)
		if e := got.Events[len(got.Events)-1].Text; e != "checkpoint at step 10 skipped: worker w2: store full" || got.State != rpcpb.JobState_JOB_STATE_RUNNING {
			t.Fatal(e)
		}
		checkpoint(a, 20, "d20", false, false, w1, w2)
		// A store that stays away for hours does not drive everything else out of the history, and the job says what it waits for.
		for range 10 {
			for _, w := range []*fake{w1, w2} {
				w.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_CheckpointFailed{CheckpointFailed: &rpcpb.CheckpointFailed{
					JobId: j.Id, Generation: 1, Step: 30, Final: true, Error: "store away"}}})
			}
		}
		says := func() (n int) {
			for _, e := range c.get(j.Id).Events {
				if strings.Contains(e.Text, "store away") {
					n++
				}
			}
			return n
		}
		c.eventually("both are heard", func() bool { return says() == 2 })
		<-time.After(time.Second)
		got = c.get(j.Id)
		if says() != 2 || got.State != rpcpb.JobState_JOB_STATE_FINISHING || !strings.Contains(got.Reason, "final checkpoint at step 30: worker w") {
			t.Errorf("%d times in the history; %v: %s", says(), got.State, got.Reason)
		}
	})
}

func TestBadCheckpointIsPassedOver(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w1 := c.worker("w1")
		j := c.submit("", spec(t, nil))
		a := w1.assign()
		checkpoint(a, 10, "d10", false, false, w1)
		checkpoint(a, 20, "d20", false, false, w1)
		w1.kill()
		w1 = c.workerProcess("w1", "w1-2")
		b := w1.assign()
		if b.ResumeStep != 20 {
			t.Fatal(b)
		}
		w1.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_CheckpointUnusable{CheckpointUnusable: &rpcpb.CheckpointUnusable{JobId: j.Id, Generation: 2, ResumeUrl: b.ResumeUrl, Error: "sha256 differs"}}})
		w1.left(b, -1, rpcpb.LeftReason_LEFT_REASON_FAULT, "", "the checkpoint does not load")
		if d := w1.assign(); d.ResumeStep != 10 || !strings.HasSuffix(d.ResumeUrl, "step-00000010-d10") {
			t.Fatal(d)
		}
	})
}

func TestTwoProcessesOfOneIdDoNotFight(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		w := c.worker("w1")
		c.submit("", spec(t, nil))
		a := w.assign()
		other := c.workerProcess("w1", "w1-2")
		<-time.After(5 * time.Second)
		w.mu.Lock()
		other.mu.Lock()
		if w.streams != 1 || other.streams != 0 {
			t.Errorf("%d and %d streams", w.streams, other.streams)
		}
		other.mu.Unlock()
		w.mu.Unlock()
		w.progress(a, 1)
		w.kill() // then the other is the worker
		if b := other.assign(); b.Generation != 2 {
			t.Error(b)
		}
	})
}

func TestRestartFromDisk(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		j := c.submit("", spec(t, nil))
		c.same()
		ids := map[string]string{}
		for _, a := range c.peers {
			ids[a] = c.nodes[a].ID()
			c.stop(a)
		}
		for _, a := range c.peers {
			if n := c.start(a); n.ID() != ids[a] {
				t.Fatal("another id")
			}
		}
		if got := c.get(j.Id); got.Id != j.Id || got.Reason != "waiting: 0 of min 1 workers with cpu" {
			t.Fatal(got)
		}
		if _, err := Start(c.config(c.peers[0])); err == nil || !strings.Contains(err.Error(), "another coordinator uses the directory") {
			t.Fatalf("two nodes in one directory: %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		for name, call := range map[string]func() error{
			"InvalidArgument: read canonical job": func() error {
				_, err := c.tool.Submit(t.Context(), &rpcpb.SubmitJobRequest{Spec: []byte("{}")})
				return err
			},
			"NotFound: job \"x\"": func() error { _, err := c.tool.Get(t.Context(), "x"); return err },
			"NotFound: job \"y\"": func() error { return c.tool.Watch(t.Context(), "y", nil) },
			"FailedPrecondition: cancel": func() error {
				j := c.submit("", spec(t, nil))
				c.control(j.Id, rpcpb.JobAction_JOB_ACTION_CANCEL)
				_, err := c.tool.Control(t.Context(), j.Id, rpcpb.JobAction_JOB_ACTION_PAUSE)
				return err
			},
			"FailedPrecondition: another node": func() error { return c.tool.AddCoordinator(t.Context(), "nobody", c.peers[0]) },
		} {
			code, text, _ := strings.Cut(name, ": ")
			err := call()
			if status.Code(err).String() != code || !strings.Contains(err.Error(), strings.Replace(text, "cancel", "pause", 1)) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	})
}
