package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// regroup makes the next generation of a gang that has ended: from those who have left it and can be reached, and from idle
// workers, at the highest step that one of them holds.
func (p *planner) regroup(j *logpb.Job, g gang) {
	d := j.Demand
	var survivors []string
	for _, m := range g.members {
		if m.left && !m.draining {
			survivors = append(survivors, m.WorkerId)
		}
	}
	survivors = p.withoutBenched(j, survivors)
	joiners := p.joiners(j, survivors)
	if have := len(survivors) + len(joiners); have < int(d.MinWorkers) {
		if j.Wish == logpb.JobAction_JOB_ACTION_PAUSE {
			p.finish(j, logpb.JobState_JOB_STATE_PAUSED, pausedText(j))
			return
		}
		for _, id := range slices.Concat(survivors, joiners) {
			p.taken[id] = true
		}
		p.wait(j, have)
		return
	}
	next := p.generation(j, survivors, joiners, j.NumericsClass)
	found, current := p.fromHolders(j, next)
	if !current {
		if whom := p.holdersMayReturn(j, g); len(whom) > 0 {
			p.note(j, "waiting up to %v for %s to come back with the state", p.holderTimeout(j), list(whom))
			return
		}
	}
	if !found {
		p.fromStore(j, next)
	}
	if pause, over := p.backoff(j, next.ResumeStep); !over {
		p.note(j, "generations fail without making a step; pausing for %v", pause)
		return
	}
	next.Reason = p.reason(j, g, next)
	if g.fault {
		p.out.Blamed[j.Id] = g.blamed()
	}
	p.create(j, next, slices.Concat(survivors, joiners))
}

// joiners are idle workers for the places that survivors leave, those first that hold a state of the job. The others do not wait for one that would still have
// to get ready, unless there would be too few without.
func (p *planner) joiners(j *logpb.Job, survivors []string) []string {
	idle := p.idle(j, j.NumericsClass)
	ready := slices.DeleteFunc(slices.Clone(idle), func(id string) bool { return p.v.Workers[id].Prepared != j.Id })
	if len(survivors)+len(ready) >= int(j.Demand.MinWorkers) {
		idle = ready
	}
	slices.SortStableFunc(idle, func(a, b string) int {
		return int(p.heldStep(j, b) - p.heldStep(j, a))
	})
	idle = idle[:min(len(idle), max(0, limit(j.Demand)-len(survivors)))]
	slices.Sort(idle)
	return idle
}

func (p *planner) heldStep(j *logpb.Job, id string) int64 {
	if h := p.v.Workers[id].Holding; holds(j, h) {
		return h.Step
	}
	return -1
}

// withoutBenched leaves out whoever was blamed too often, as long as enough others remain and hold the state.
func (p *planner) withoutBenched(j *logpb.Job, survivors []string) []string {
	kept := slices.DeleteFunc(slices.Clone(survivors), func(id string) bool { return p.benched(j, id) })
	if len(kept) < int(j.Demand.MinWorkers) {
		return survivors
	}
	newest := func(ids []string) (step int64) {
		step = -1
		for _, id := range ids {
			step = max(step, p.heldStep(j, id))
		}
		return step
	}
	if newest(kept) < newest(survivors) {
		return survivors
	}
	return kept
}

// holdersMayReturn: members that are unreachable, but not known to be dead, may hold a state. Those that are still waited for.
func (p *planner) holdersMayReturn(j *logpb.Job, g gang) (whom []string) {
	for _, m := range g.members {
		var since time.Time
		switch {
		case m.gone && !m.dead:
			since = m.goneSince
		case !m.gone && !m.left:
			since = g.firstLeft // it is there and has not yet said what it holds
		default:
			continue
		}
		if p.now.Before(since.Add(p.holderTimeout(j))) {
			whom = append(whom, m.WorkerId)
		}
	}
	return whom
}

// backoff slows generations down that fail one after the other at the same step: three are free.
func (p *planner) backoff(j *logpb.Job, step int64) (pause time.Duration, over bool) {
	same := 0
	for _, g := range slices.Backward(j.Generations) {
		if g.ResumeStep != step {
			break
		}
		same++
	}
	if same < 3 {
		return 0, true
	}
	pause = min(100*time.Millisecond<<min(same-3, 10), 10*time.Second)
	created := time.UnixMilli(state.Current(j).CreatedMs)
	if created.After(p.now) {
		created = p.v.Since // by an earlier leader, whose clock is ahead of this one's
	}
	return pause, !p.now.Before(created.Add(pause))
}

// reason says what happened and what became of it.
func (p *planner) reason(j *logpb.Job, g gang, next *logpb.Generation) string {
	var parts []string
	for _, m := range g.members {
		if state.RankIn(next, m.WorkerId) >= 0 && !m.dead {
			continue
		}
		switch {
		case m.draining:
			parts = append(parts, "worker "+m.WorkerId+" drained")
		case p.benched(j, m.WorkerId):
			parts = append(parts, "worker "+m.WorkerId+" stays out for a while after repeated faults")
		default:
			parts = append(parts, fmt.Sprintf("worker %s lost: %s", m.WorkerId, g.how(m, p.policy)))
		}
	}
	if len(parts) == 0 && g.fault {
		parts = append(parts, g.complaint())
	}
	var joined []string
	for _, m := range next.Members {
		if r := state.RankIn(g.Generation, m.WorkerId); r < 0 || g.members[r].dead {
			joined = append(joined, m.WorkerId)
		}
	}
	if len(joined) > 0 {
		parts = append(parts, "joined: "+list(joined))
	}
	var on []string
	for _, m := range next.Members {
		on = append(on, m.WorkerId)
	}
	verb := "resumed"
	if len(next.Holders) == 0 {
		verb = "no worker holds the state; resumed"
	}
	return strings.Join(append(parts, fmt.Sprintf("%s at %s on %s", verb, source(j, next), list(on))), "; ")
}

// how a lost member was lost: what others saw, else what the leader saw.
func (g *gang) how(lost member, policy Policy) string {
	for _, m := range g.members {
		if m.left && m.holding.Culprit == lost.WorkerId && m.holding.How != "" {
			return m.holding.How
		}
	}
	switch {
	case lost.why != "":
		return lost.why
	case lost.left:
		return "it has left: " + lost.holding.How
	}
	return fmt.Sprintf("no report within %v", policy.ReportWait)
}

// complaint is the first report of a fault that cost no member.
func (g *gang) complaint() string {
	for _, m := range g.members {
		if m.left && !m.holding.Planned {
			if m.holding.Culprit == "" {
				return fmt.Sprintf("worker %s reports: %s", m.WorkerId, m.holding.How)
			}
			return fmt.Sprintf("worker %s reports worker %s: %s", m.WorkerId, m.holding.Culprit, m.holding.How)
		}
	}
	return "the gang ended"
}

func pausedText(j *logpb.Job) string {
	if c := state.NewestCheckpoint(j); c != nil {
		return fmt.Sprintf("paused; the newest checkpoint is of step %d", c.Step)
	}
	return "paused; there is no checkpoint, it will begin again"
}
