package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

type planner struct {
	now    time.Time
	v      View
	policy Policy
	out    Decision
	taken  map[string]bool   // workers that this decision gives away
	held   map[string]string // device kind -> job that is first in line for it
}

// Plan decides what should happen now. Jobs that need workers come first, by priority, then age; then running gangs grow into
// what is left. A job that waits holds back those behind it for the same kind of device, if it can ever be served.
func Plan(now time.Time, v View, policy Policy) Decision {
	p := &planner{now: now, v: v, policy: policy, taken: map[string]bool{}, held: map[string]string{}}
	p.out.Asks, p.out.Notes, p.out.Blamed, p.out.Prepares = map[string]Ask{}, map[string]string{}, map[string]string{}, map[string]string{}
	jobs := slices.Clone(v.State.Jobs)
	slices.SortStableFunc(jobs, func(a, b *logpb.Job) int { return cmp.Compare(b.Demand.Priority, a.Demand.Priority) })
	var steady []*logpb.Job
	for _, j := range jobs {
		switch {
		case j.State == logpb.JobState_JOB_STATE_QUEUED:
			p.start(j)
		case state.Live(j) && !p.live(j):
			steady = append(steady, j)
		}
	}
	for _, j := range steady {
		p.grow(j)
	}
	p.forget()
	return p.out
}

// live looks after a gang, and reports whether it is more than training steadily.
func (p *planner) live(j *logpb.Job) bool {
	g := p.gang(j)
	lost := g.gone == len(g.members)
	switch {
	case g.left == 0 && !lost:
		return p.unmade(j, g) || p.ask(j)
	case !lost && g.left+g.gone < len(g.members) && p.now.Before(g.firstLeft.Add(p.policy.ReportWait)):
		p.note(j, "a new generation is due; waiting for the reports of all members")
		if g.fault {
			// Those whose ring stands know already; those that still wait for it would wait until their deadline.
			p.out.Asks[j.Id] = Ask{g.Number, Regroup, "a member has left"}
		}
		return true
	case j.Wish == logpb.JobAction_JOB_ACTION_CANCEL:
		p.finish(j, logpb.JobState_JOB_STATE_CANCELLED, "cancelled")
		return true
	case j.Wish == logpb.JobAction_JOB_ACTION_PAUSE && (lost || !g.fault):
		p.finish(j, logpb.JobState_JOB_STATE_PAUSED, pausedText(j))
		return true
	}
	p.regroup(j, g)
	return true
}

// ask asks a steady gang for what a person wants.
func (p *planner) ask(j *logpb.Job) bool {
	switch j.Wish {
	case logpb.JobAction_JOB_ACTION_CANCEL:
		p.out.Asks[j.Id] = Ask{state.Current(j).Number, Cancel, "cancel was asked for"}
	case logpb.JobAction_JOB_ACTION_PAUSE:
		p.out.Asks[j.Id] = Ask{state.Current(j).Number, Pause, "pause was asked for"}
	default:
		return false
	}
	return true
}

// unmade: a member is gone before the gang has made a step. A ring notices whom it loses, but there may be none yet, and then nobody would.
func (p *planner) unmade(j *logpb.Job, g gang) bool {
	made := p.v.Steps[j.Id].Generation == g.Number || slices.ContainsFunc(g.members, func(m member) bool {
		return m.holding.Generation == g.Number && m.holding.Step > g.ResumeStep
	})
	if g.gone == 0 || made {
		return false
	}
	p.out.Asks[j.Id] = Ask{g.Number, Regroup, "a member was lost before the first step"}
	return true
}

// start admits the first gang, or the first after a pause.
func (p *planner) start(j *logpb.Job) {
	if p.isHeld(j) {
		return
	}
	class, free := p.firstGang(j)
	d := j.Demand
	if len(free) < int(d.MinWorkers) {
		p.wait(j, len(free))
		return
	}
	if len(free) < limit(d) && p.settling() {
		p.note(j, "a new leader waits for its workers before it starts jobs")
		p.held[d.Device] = j.Id
		return
	}
	free = free[:min(len(free), limit(d))]
	g := p.generation(j, nil, free, class)
	p.fromStore(j, g)
	g.Reason = fmt.Sprintf("started at %s on %s", source(j, g), list(free))
	p.create(j, g, free)
}

// settling: workers that were attached to the last leader may still be on their way.
func (p *planner) settling() bool {
	if p.now.Sub(p.v.Since) > p.policy.WorkerLease {
		return false
	}
	return slices.ContainsFunc(p.v.State.Workers, func(w *logpb.Worker) bool { _, seen := p.v.Workers[w.Id]; return !seen })
}

// grow asks a steady gang to make room for joiners. It must have made a step since it was formed: nothing grows in circles.
func (p *planner) grow(j *logpb.Job) {
	g := state.Current(j)
	room := limit(j.Demand) - len(g.Members)
	done := p.v.Steps[j.Id]
	if j.State != logpb.JobState_JOB_STATE_RUNNING || p.held[j.Demand.Device] != "" {
		return
	}
	if room <= 0 {
		p.spare(j)
		return
	}
	if done.Generation != g.Number || done.Step <= g.ResumeStep {
		return
	}
	var joiners []string
	ready := false
	for _, id := range p.idle(j, j.NumericsClass) {
		if len(joiners) == room {
			break
		}
		p.taken[id] = true
		if !p.prepare(j, id) {
			continue // the others do not wait for it
		}
		joiners = append(joiners, id)
		ready = ready || p.now.Sub(p.v.Workers[id].AttachedAt) >= p.policy.GrowDelay
	}
	if ready {
		p.out.Asks[j.Id] = Ask{g.Number, Regroup, "to be joined by " + list(joiners)}
	}
}

// prepare tells whether a worker is ready to train the job, and has it get ready if it is not.
func (p *planner) prepare(j *logpb.Job, id string) bool {
	w := p.v.Workers[id]
	if w.Prepared == j.Id {
		return true
	}
	if w.Unready != j.Id || p.now.Sub(w.UnreadyAt) >= 10*p.policy.GrowDelay {
		p.out.Prepares[id] = j.Id
	}
	return false
}

// spare has workers that nobody needs get ready to replace members of a full gang.
func (p *planner) spare(j *logpb.Job) {
	for _, id := range p.idle(j, j.NumericsClass) {
		if w := p.v.Workers[id]; w.Prepared == "" && p.out.Prepares[id] == "" {
			p.prepare(j, id)
		}
	}
}

// forget drops workers that nobody has heard of for long and that no gang has.
func (p *planner) forget() {
	if p.now.Sub(p.v.Since) < p.policy.ForgetWorker {
		return
	}
	for _, w := range p.v.State.Workers {
		seen, known := p.v.Workers[w.Id]
		if known && (seen.Attached || p.now.Sub(seen.DetachedAt) < p.policy.ForgetWorker) || p.v.State.GangOf(w.Id) != nil || p.taken[w.Id] {
			continue
		}
		p.command(&logpb.Command{Command: &logpb.Command_WorkerGone{WorkerGone: &logpb.WorkerGone{WorkerId: w.Id}}})
	}
}

func (p *planner) command(c *logpb.Command) {
	c.TimeMs = p.now.UnixMilli()
	p.out.Commands = append(p.out.Commands, c)
}

func (p *planner) finish(j *logpb.Job, s logpb.JobState, reason string) {
	p.command(&logpb.Command{Command: &logpb.Command_JobFinished{JobFinished: &logpb.JobFinished{JobId: j.Id, State: s, Reason: reason}}})
}

func (p *planner) create(j *logpb.Job, g *logpb.Generation, members []string) {
	for _, id := range members {
		p.taken[id] = true
	}
	g.Reason += mix(j, g)
	p.command(&logpb.Command{Command: &logpb.Command_GenerationCreated{GenerationCreated: &logpb.GenerationCreated{JobId: j.Id, Generation: g}}})
}

func (p *planner) note(j *logpb.Job, format string, args ...any) {
	p.out.Notes[j.Id] = fmt.Sprintf(format, args...)
}

// wait notes that a job has too few workers, and makes those behind it wait too if it can ever have enough.
func (p *planner) wait(j *logpb.Job, have int) {
	p.note(j, "waiting: %d of min %d workers with %s%s", have, j.Demand.MinWorkers, wanted(j.Demand), p.unlike(j))
	alive := map[string]int{} // by numerics class
	enough := 0
	for _, w := range p.v.State.Workers {
		if state.Fits(j.Demand, w) && p.present(w.Id) && (j.Demand.Mixed || j.NumericsClass == "" || w.NumericsClass == j.NumericsClass) {
			class := w.NumericsClass
			if j.Demand.Mixed {
				class = ""
			}
			alive[class]++
			enough = max(enough, alive[class])
		}
	}
	if enough >= int(j.Demand.MinWorkers) {
		p.held[j.Demand.Device] = j.Id
	}
}

// unlike tells of idle workers that a job cannot have: they compute in another numerics class than the gangs that it had, as workers of another build do.
func (p *planner) unlike(j *logpb.Job) string {
	if j.Demand.Mixed || j.NumericsClass == "" {
		return ""
	}
	idle, others := 0, []string(nil)
	for _, class := range p.classes() {
		if n := len(p.idle(j, class)); n > 0 && class != j.NumericsClass {
			idle += n
			others = append(others, class)
		}
	}
	if idle == 0 {
		return ""
	}
	return fmt.Sprintf(" of numerics class %s, in which the job began; %d idle of %s", j.NumericsClass, idle, strings.Join(others, ", "))
}

func (p *planner) isHeld(j *logpb.Job) bool {
	first := p.held[j.Demand.Device]
	if first != "" {
		p.note(j, "waiting: job %s is first in line for workers with %s", first, j.Demand.Device)
	}
	return first != ""
}

// wanted names the devices that a job takes.
func wanted(d *logpb.Demand) string {
	if d.Mixed {
		return "any device"
	}
	return d.Device
}

func limit(d *logpb.Demand) int { return int(min(d.MaxWorkers, d.Shards)) }

func list(ids []string) string { return strings.Join(ids, ", ") }
