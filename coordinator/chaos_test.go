package coordinator

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

var seeds = flag.Uint64("seeds", 2, "how many clusters TestJobSurvivesAllKindsOfFaults torments")

// toy is a worker that trains, without arithmetic: what its ring would do is done by the test, between two ticks.
type toy struct {
	*fake
	assign  *rpcpb.Assign // nil: idle
	since   time.Time     // of the assignment
	step    int64         // of the state that it holds; -1: none
	left    bool
	flag    bool // it was asked to leave
	pending *rpcpb.PartsWritten
	streams int
}

// ring moves all gangs of a cluster.
type ring struct {
	c     *cluster
	t     *testing.T
	toys  map[string]*toy
	again map[string]time.Time // when the supervisor starts a killed worker again
	born  int
	end   int64
	steps int
}

func (r *ring) spawn(id string) {
	r.born++
	r.toys[id] = &toy{fake: r.c.workerProcess(id, fmt.Sprint(id, "-", r.born)), step: -1}
}

func (r *ring) kill(id string) {
	r.toys[id].kill()
	delete(r.toys, id)
	r.again[id] = time.Now().Add(time.Second)
}

func (r *ring) tick() {
	for id, at := range r.again {
		if time.Now().After(at) {
			delete(r.again, id)
			r.spawn(id)
		}
	}
	gangs := map[uint64]*rpcpb.Assign{}
	for _, w := range r.toys {
		r.read(w)
		if w.assign != nil && !w.left {
			gangs[w.assign.Generation] = w.assign
		}
	}
	for _, a := range gangs {
		r.gang(a)
	}
}

// read does what a worker does with the leader's messages.
func (r *ring) read(w *toy) {
	w.mu.Lock()
	got, streams := w.got, w.fake.streams
	w.got = nil
	w.mu.Unlock()
	for _, m := range got {
		switch m := m.Message.(type) {
		case *rpcpb.AttachResponse_Assign:
			r.take(w, m.Assign)
		case *rpcpb.AttachResponse_Change:
			w.flag = w.flag || w.assign != nil && m.Change.Generation == w.assign.Generation
		case *rpcpb.AttachResponse_WriteManifest:
			if w.pending != nil && m.WriteManifest.Step == w.pending.Step {
				w.manifest(w.assign, w.pending.Step, w.pending.StateDigest)
			}
		case *rpcpb.AttachResponse_Committed:
			if w.pending != nil && m.Committed.Step == w.pending.Step {
				w.pending = nil
			}
		case *rpcpb.AttachResponse_Release:
			w.assign, w.pending, w.step = nil, nil, -1
		}
	}
	if w.pending != nil && streams != w.streams { // a new stream: say again what was not answered
		w.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_PartsWritten{PartsWritten: w.pending}})
	}
	w.streams = streams
}

// take checks an assignment as a worker would, and that the leader has told the truth about who holds what.
func (r *ring) take(w *toy, a *rpcpb.Assign) {
	if w.assign != nil && (a.Term < w.assign.Term || a.Index <= w.assign.Index) {
		if a.Index < w.assign.Index {
			r.t.Errorf("worker %s: generation %d (%d, %d) after %d (%d, %d)", w.id, a.Generation, a.Term, a.Index, w.assign.Generation, w.assign.Term, w.assign.Index)
		}
		return
	}
	holds := false
	for rank, m := range a.Members {
		for _, h := range a.Holders {
			if int(h) == rank && m.WorkerId == w.id {
				holds = true
			}
		}
	}
	if holds && w.step != a.ResumeStep {
		r.t.Errorf("worker %s holds step %d, not %d", w.id, w.step, a.ResumeStep)
	}
	if !holds {
		w.step = -1
	}
	w.assign, w.since, w.left, w.flag, w.pending = a, time.Now(), false, false, nil
}

// gang moves one generation: a step if all are there, an end if one is not.
func (r *ring) gang(a *rpcpb.Assign) {
	var here []*toy
	away, late := "", false
	for _, m := range a.Members {
		w := r.toys[m.WorkerId]
		if w != nil && w.assign != nil && w.assign.Generation == a.Generation && !w.left {
			here = append(here, w)
		} else if away = m.WorkerId; w != nil && (w.assign == nil || w.assign.Generation < a.Generation) {
			late = true // its assignment is on the way
		}
	}
	if away != "" {
		for _, w := range here {
			if !late || time.Since(w.since) > 3*time.Second {
				r.leave(w, rpcpb.LeftReason_LEFT_REASON_FAULT, away)
			}
		}
		return
	}
	r.stepGang(a, here)
}

func (r *ring) leave(w *toy, reason rpcpb.LeftReason, culprit string) {
	w.left, w.pending = true, nil
	w.fake.left(w.assign, w.step, reason, culprit, "reset")
}

func (r *ring) stepGang(a *rpcpb.Assign, gang []*toy) {
	flag := false
	for _, w := range gang {
		if w.step < 0 {
			w.step = a.ResumeStep
		}
		flag = flag || w.flag
	}
	if gang[0].step < r.end {
		r.steps++
		for _, w := range gang {
			w.step++
			w.mu.Lock()
			w.holding = &rpcpb.Holding{JobId: a.JobId, Generation: a.Generation, Step: w.step}
			w.mu.Unlock()
		}
		gang[0].progress(a, gang[0].step)
	}
	step := gang[0].step
	for _, w := range gang {
		switch {
		case flag && step < r.end:
			r.leave(w, rpcpb.LeftReason_LEFT_REASON_PLANNED, "")
		case w.pending == nil && (step%10 == 0 || step == r.end):
			w.pending = &rpcpb.PartsWritten{JobId: a.JobId, Generation: a.Generation, Step: step, StateDigest: fmt.Sprintf("d%d", step), Final: step == r.end}
			w.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_PartsWritten{PartsWritten: w.pending}})
		}
	}
}

// Leaders are cut off, coordinators restarted, workers killed, for as long as the job runs. It ends, and well: every checkpoint
// is committed once, no gang resumes from a state that nobody holds, and the replicas are equal.
func TestJobSurvivesAllKindsOfFaults(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			tuned(t, 3, clocksDiffer, func(t *testing.T, c *cluster) { chaos(t, c, rand.New(rand.NewPCG(seed, 3))) })
		})
	}
}

// clocksDiffer: no two coordinators agree about the hour.
func clocksDiffer(cfg *Config) {
	ahead := time.Duration(cfg.Bind[len(cfg.Bind)-1]-'2') * time.Hour
	cfg.Now = func() time.Time { return time.Now().Add(ahead) }
}

func chaos(t *testing.T, c *cluster, rnd *rand.Rand) {
	r := &ring{c: c, t: t, toys: map[string]*toy{}, again: map[string]time.Time{}, end: 300}
	for i := range 4 {
		r.spawn(fmt.Sprint("w", i))
	}
	j := c.submit("", spec(t, workers(2, 3)))
	faults := 0
	back := map[string]int{} // coordinators that are away, and for how many ticks
	for tick := range 6000 {
		<-time.After(50 * time.Millisecond)
		synctest.Wait()
		r.tick()
		c.check()
		for a := range back {
			if back[a]--; back[a] == 0 {
				delete(back, a)
				if c.nodes[a] == nil {
					c.start(a)
				} else {
					c.net.Cut(a, false)
					c.apart(a, false)
				}
			}
		}
		if faults < 12 && tick%25 == 24 {
			faults++
			r.fault(rnd, back)
		}
		if tick%40 == 39 && faults == 12 && len(back) == 0 && c.get(j.Id).State == rpcpb.JobState_JOB_STATE_SUCCEEDED {
			break
		}
	}
	got := c.get(j.Id)
	if got.State != rpcpb.JobState_JOB_STATE_SUCCEEDED {
		t.Fatalf("it is %v: %s\n%v", got.State, got.Reason, got.Events)
	}
	once := map[string]bool{}
	for _, e := range got.Events {
		if strings.Contains(e.Text, "committed") && once[e.Text] {
			t.Errorf("twice: %s", e.Text)
		}
		once[e.Text] = true
	}
	t.Logf("%d generations, %d steps for %d", len(got.Generations), r.steps, r.end)
	c.same()
}

// apart cuts a coordinator off from the others, or mends that. Workers and clients still reach it.
func (c *cluster) apart(a string, off bool) {
	for _, b := range c.peers {
		if b != a {
			c.net.Sever(a, b, off)
		}
	}
}

func (r *ring) fault(rnd *rand.Rand, back map[string]int) {
	switch rnd.IntN(8) {
	case 6, 7: // one is cut off from the other coordinators, and only from them
		if len(back) == 0 {
			a := r.c.peers[rnd.IntN(3)]
			r.c.apart(a, true)
			back[a] = 40
		}
	case 0: // the leader is cut off
		if len(back) == 0 {
			a := r.c.leader().Addr()
			r.c.net.Cut(a, true)
			back[a] = 40
		}
	case 1: // a coordinator is restarted
		if len(back) == 0 {
			a := r.c.peers[rnd.IntN(3)]
			r.c.stop(a)
			back[a] = 20
		}
	case 2: // all workers at once: the state is lost
		for id := range maps.Clone(r.toys) {
			r.kill(id)
		}
	default:
		id := fmt.Sprint("w", rnd.IntN(4))
		if r.toys[id] != nil {
			r.kill(id)
		}
	}
}
