package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// present: the worker is attached and was heard of within a lease.
func (p *planner) present(id string) bool {
	w, known := p.v.Workers[id]
	return known && w.Attached && !p.silent(w)
}

// idle lists workers that could join the job's gang now, by id. class is ignored if the job allows several; those with a kind of device for which another job
// is first in line are not for it then.
func (p *planner) idle(j *logpb.Job, class string) []string {
	var out []string
	for _, w := range p.v.State.Workers {
		known := p.v.Workers[w.Id]
		first := p.held[state.DeviceKind(w.Device)]
		fits := state.Fits(j.Demand, w) && (w.NumericsClass == class || j.Demand.Mixed && (first == "" || first == j.Id))
		if fits && p.present(w.Id) && known.Incarnation == w.Incarnation && !known.Draining && !p.taken[w.Id] && p.free(j, w) && !p.benched(j, w.Id) {
			out = append(out, w.Id)
		}
	}
	return out
}

// free: the worker is in no gang, or it is a new process in the place of a member that this job has lost; and whatever
// it did before, it has stopped.
func (p *planner) free(j *logpb.Job, w *logpb.Worker) bool {
	h := p.v.Workers[w.Id].Holding
	if other := p.v.State.GangOf(w.Id); other != nil {
		g := state.Current(other)
		if other.Id != j.Id || g.Members[state.RankIn(g, w.Id)].Incarnation == w.Incarnation {
			return false
		}
	}
	return h.Job == "" || h.Left
}

func (p *planner) benched(j *logpb.Job, id string) bool { return p.now.Before(p.v.Benched[j.Id][id]) }

// classes are the numerics classes that there are, by name.
func (p *planner) classes() []string {
	var classes []string
	for _, w := range p.v.State.Workers {
		classes = append(classes, w.NumericsClass)
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}

// firstGang is the numerics class with the most idle workers (the first by name of several), and those.
func (p *planner) firstGang(j *logpb.Job) (class string, ids []string) {
	if j.Demand.Mixed || j.NumericsClass != "" {
		return j.NumericsClass, p.idle(j, j.NumericsClass)
	}
	for _, c := range p.classes() {
		if free := p.idle(j, c); len(free) > len(ids) {
			class, ids = c, free
		}
	}
	return class, ids
}

// generation is the next one with the given members by rank: survivors in their order, then joiners.
func (p *planner) generation(j *logpb.Job, survivors, joiners []string, class string) *logpb.Generation {
	ids := slices.Concat(survivors, joiners)
	g := &logpb.Generation{Number: state.Current(j).GetNumber() + 1, NumericsClass: class}
	shards := int(j.Demand.Shards)
	for r, id := range ids {
		w := p.v.State.Worker(id)
		m := &logpb.Member{WorkerId: id, Incarnation: w.Incarnation, Address: w.Address}
		for s := r * shards / len(ids); s < (r+1)*shards/len(ids); s++ {
			m.Shards = append(m.Shards, int32(s))
		}
		g.Members = append(g.Members, m)
	}
	if j.Demand.Mixed {
		g.NumericsClass = p.commonClass(ids)
	}
	return g
}

// mix says of a gang that it makes the result depend on the cluster, because it is of several numerics classes or of another one than the gang before it. Otherwise it
// is empty.
func mix(j *logpb.Job, g *logpb.Generation) string {
	if before := state.Current(j); !j.Demand.Mixed || g.NumericsClass != "" && (before == nil || before.NumericsClass == g.NumericsClass) {
		return ""
	}
	return "; numerics classes are mixed: the result depends on who computes which shard"
}

// commonClass is the numerics class of all; empty if there is none.
func (p *planner) commonClass(ids []string) string {
	class := p.v.State.Worker(ids[0]).NumericsClass
	for _, id := range ids {
		if p.v.State.Worker(id).NumericsClass != class {
			return ""
		}
	}
	return class
}

// fromStore makes the generation begin at the newest good checkpoint, or where the job was told to begin.
func (p *planner) fromStore(j *logpb.Job, g *logpb.Generation) {
	if c := state.NewestCheckpoint(j); c != nil {
		g.ResumeStep, g.ResumeUrl = c.Step, state.CheckpointURL(j, c)
		return
	}
	g.ResumeStep, g.ResumeUrl = j.ResumeStep, j.ResumeUrl
}

// fromHolders makes the generation begin at the highest step that one of its members holds, unless a checkpoint is newer.
// current: a member of the current generation holds a state, so that no other can be more than a step ahead.
func (p *planner) fromHolders(j *logpb.Job, g *logpb.Generation) (found, current bool) {
	best := int64(-1)
	for r, m := range g.Members {
		h := p.v.Workers[m.WorkerId].Holding
		if !holds(j, h) {
			continue
		}
		current = current || h.Generation == state.Current(j).Number
		if h.Step > best {
			best, g.Holders = h.Step, nil
		}
		if h.Step == best {
			g.Holders = append(g.Holders, int32(r))
		}
	}
	if c := state.NewestCheckpoint(j); c != nil && c.Step > best {
		g.Holders = nil
	}
	g.ResumeStep = best
	return len(g.Holders) > 0, current
}

// source says in words where a generation begins.
func source(j *logpb.Job, g *logpb.Generation) string {
	switch {
	case len(g.Holders) > 0:
		return fmt.Sprintf("step %d", g.ResumeStep)
	case g.ResumeUrl != "":
		_, dir, found := cutLast(g.ResumeUrl)
		if !found || state.NewestCheckpoint(j) == nil {
			dir = g.ResumeUrl
		}
		return fmt.Sprintf("step %d from checkpoint %s", g.ResumeStep, dir)
	}
	return "step 0"
}

func cutLast(url string) (before, after string, found bool) {
	i := strings.LastIndexByte(url, '/')
	if i < 0 {
		return url, "", false
	}
	return url[:i], url[i+1:], true
}

// holderTimeout is the job's own, or the policy's.
func (p *planner) holderTimeout(j *logpb.Job) time.Duration {
	if ms := j.Demand.HolderMs; ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return p.policy.HolderTimeout
}
