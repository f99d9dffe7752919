package schedule

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

var schedules = flag.Uint64("schedules", 100, "how many random schedules TestRandomSchedules plays")

// proc is a worker's process, as it is: the leader knows only what it has been told.
type proc struct {
	incarnation string
	attached    bool
	holding     Holding // Left, once it has left its generation
}

// gamble is a cluster on which everything happens at random times: processes die and start, streams break, leaders change, people pause and
// resume, gangs train.
type gamble struct {
	*world
	rnd    *rand.Rand
	procs  map[string]*proc
	born   int
	seen   map[string]uint64 // by job: its newest generation that was checked
	finals map[string]int
	calm   bool // nothing breaks any more
}

// TestRandomSchedules: whatever happens in whatever order, the state's invariants hold after every command, the state accepts every decision, a
// generation resumes at a step that its holders hold or that is stored, and once the world is calm, all jobs end.
func TestRandomSchedules(t *testing.T) {
	generations := 0
	for seed := range *schedules {
		g := &gamble{world: newWorld(t), rnd: rand.New(rand.NewPCG(seed, 5)), procs: map[string]*proc{}, seen: map[string]uint64{}, finals: map[string]int{}}
		if err := g.play(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, g.take())
		}
		for _, n := range g.seen {
			generations += int(n)
		}
	}
	t.Logf("%d schedules, %d generations", *schedules, generations)
	if generations < 4*int(*schedules) {
		t.Errorf("%d generations in %d schedules: hardly anything happened", generations, *schedules)
	}
}

func (g *gamble) play() error {
	for i := range 4 {
		g.spawn(fmt.Sprint("w", i))
	}
	g.do("submit a min=2 max=3")
	g.do("submit b min=1 max=2")
	for range 300 {
		if err := g.tick(); err != nil {
			return err
		}
		g.mischief()
	}
	g.calm = true
	for _, j := range g.s.View().Jobs {
		if j.State == logpb.JobState_JOB_STATE_PAUSED || j.Wish == logpb.JobAction_JOB_ACTION_PAUSE {
			g.do("control " + j.Id + " resume")
		}
	}
	for i := range 4 {
		if id := fmt.Sprint("w", i); g.procs[id] == nil {
			g.spawn(id)
		}
	}
	for range 3000 {
		if err := g.tick(); err != nil {
			return err
		}
		if !slices.ContainsFunc(g.s.View().Jobs, func(j *logpb.Job) bool { return !state.Ended(j) }) {
			return g.ended()
		}
	}
	return fmt.Errorf("after five calm minutes: %v", g.s.View().Jobs)
}

// ended checks how the jobs did.
func (g *gamble) ended() error {
	for _, j := range g.s.View().Jobs {
		if j.State == logpb.JobState_JOB_STATE_FAILED || j.State == logpb.JobState_JOB_STATE_SUCCEEDED && g.finals[j.Id] != 1 {
			return fmt.Errorf("job %s: %s, %s, after %d final checkpoints", j.Id, state.StateName(j.State), j.Reason, g.finals[j.Id])
		}
	}
	return nil
}

// spawn starts a new process of a worker.
func (g *gamble) spawn(id string) {
	g.born++
	g.attach(id, nil)
	g.procs[id] = &proc{incarnation: g.v.Workers[id].Incarnation, attached: true}
}

// mischief does one thing, or none.
func (g *gamble) mischief() {
	id := fmt.Sprint("w", g.rnd.IntN(4))
	p := g.procs[id]
	switch g.rnd.IntN(60) {
	case 0: // the process dies
		if p != nil {
			g.do("gone " + id)
			delete(g.procs, id)
		}
	case 1, 2: // its supervisor starts it again
		if p == nil {
			g.spawn(id)
		}
	case 3: // the stream breaks
		if p != nil && p.attached {
			g.do("gone " + id)
			p.attached = false
		}
	case 4: // another leader
		g.do("leader")
		for _, p := range g.procs {
			p.attached = false
		}
	case 5:
		g.do("control " + []string{"a", "b"}[g.rnd.IntN(2)] + " " + []string{"pause", "pause", "resume", "resume", "resume", "cancel"}[g.rnd.IntN(6)])
	}
}

// tick is a tenth of a second: processes attach and move, and the leader plans.
func (g *gamble) tick() error {
	g.now = g.now.Add(100 * time.Millisecond)
	for _, id := range slices.Sorted(maps.Keys(g.procs)) {
		if p := g.procs[id]; !p.attached && (g.calm || g.rnd.IntN(8) == 0) {
			p.attached = true
			g.v.Workers[id] = Worker{Incarnation: p.incarnation, Attached: true, AttachedAt: g.now, Heard: g.now, Holding: p.holding}
		}
	}
	for _, j := range g.s.View().Jobs {
		if state.Live(j) {
			g.gang(j)
		}
	}
	g.settle()
	return g.follow()
}

// follow hands new generations to the processes, and checks what they are told.
func (g *gamble) follow() error {
	for _, j := range g.s.View().Jobs {
		n := state.Current(j)
		if state.Ended(j) || j.State == logpb.JobState_JOB_STATE_PAUSED {
			g.free(j.Id)
		}
		if n == nil || n.Number <= g.seen[j.Id] || !state.Live(j) {
			continue
		}
		g.seen[j.Id] = n.Number
		if n.ResumeStep > 0 && len(n.Holders) == 0 && n.ResumeUrl == "" {
			return fmt.Errorf("generation %d of %s resumes at step %d, which nobody holds and is stored nowhere", n.Number, j.Id, n.ResumeStep)
		}
		for _, rank := range n.Holders {
			id := n.Members[rank].WorkerId
			if p := g.procs[id]; p != nil && p.incarnation == n.Members[rank].Incarnation && (p.holding.Job != j.Id || p.holding.Step != n.ResumeStep) {
				return fmt.Errorf("generation %d of %s resumes at step %d of worker %s, which holds %+v", n.Number, j.Id, n.ResumeStep, id, p.holding)
			}
		}
		for _, m := range n.Members {
			if p := g.procs[m.WorkerId]; p != nil && p.attached {
				p.holding = Holding{Job: j.Id, Generation: n.Number, Step: n.ResumeStep}
			}
		}
	}
	return nil
}

// free releases the processes of a job.
func (g *gamble) free(job string) {
	for _, p := range g.procs {
		if p.attached && p.holding.Job == job {
			p.holding = Holding{}
		}
	}
}

// gang does what the members of a generation do: a step if all are there; an end if one is not.
func (g *gamble) gang(j *logpb.Job) {
	n := state.Current(j)
	var here []string
	away := ""
	for _, m := range n.Members {
		p := g.procs[m.WorkerId]
		if p != nil && p.incarnation == m.Incarnation && p.holding.Job == j.Id && p.holding.Generation == n.Number && !p.holding.Left {
			here = append(here, m.WorkerId)
		} else {
			away = m.WorkerId
		}
	}
	switch ask := g.asked[j.Id]; {
	case away != "":
		for _, id := range here {
			if g.rnd.IntN(3) > 0 || g.calm { // not all notice at once
				g.leave(id, false, away)
			}
		}
	case g.rnd.IntN(3) == 0 && !g.calm:
	case ask.Generation == n.Number && ask.Action == Pause:
		g.step(j, n, here)
		g.commit(j, n, " pause=yes", here)
	case ask.Generation == n.Number:
		g.step(j, n, here)
		for _, id := range here {
			g.leave(id, true, "")
		}
	default:
		g.step(j, n, here)
		if s := g.procs[here[0]].holding.Step; s%10 == 0 || s == 100 {
			g.commit(j, n, map[bool]string{true: " final=yes"}[s == 100], here)
		}
	}
}

// step completes one, unless the job is at its end.
func (g *gamble) step(j *logpb.Job, n *logpb.Generation, here []string) {
	if g.procs[here[0]].holding.Step >= 100 {
		return
	}
	for _, id := range here {
		p := g.procs[id]
		p.holding.Step++
		g.report(id)
		if p.attached {
			g.v.Steps[j.Id] = Progress{n.Number, p.holding.Step}
			g.bench.Forgive(j.Id)
		}
	}
}

func (g *gamble) leave(id string, planned bool, culprit string) {
	h := &g.procs[id].holding
	h.Left, h.LeftAt, h.Planned, h.Culprit, h.How = true, g.now, planned, culprit, "reset"
	g.report(id)
}

// report tells the leader what a process holds, if it has a stream.
func (g *gamble) report(id string) {
	if p, k := g.procs[id], g.v.Workers[id]; p.attached {
		k.Holding = p.holding
		g.v.Workers[id] = k
	}
}

// commit stores a checkpoint, if all are connected.
func (g *gamble) commit(j *logpb.Job, n *logpb.Generation, how string, here []string) {
	for _, id := range here {
		if !g.procs[id].attached {
			return
		}
	}
	g.do(fmt.Sprintf("commit %s step=%d%s", j.Id, g.procs[here[0]].holding.Step, how))
	now := g.s.View().Job(j.Id)
	if how == " final=yes" && now.State == logpb.JobState_JOB_STATE_SUCCEEDED {
		g.finals[j.Id]++
	}
	if !state.Live(now) {
		g.free(j.Id)
	}
}
