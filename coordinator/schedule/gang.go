package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// member is one member of a live gang, as the leader sees it now.
type member struct {
	*logpb.Member
	holding   Holding
	left      bool      // it has left this generation and can be reached
	gone      bool      // it cannot be reached, or others say that it hangs
	dead      bool      // gone for certain, and its state with it
	goneSince time.Time // if gone and not dead
	why       string    // if gone
	draining  bool
}

// gang is the current generation of a live job.
type gang struct {
	*logpb.Generation
	members   []member
	left      int
	gone      int
	fault     bool      // someone left because of a fault
	firstLeft time.Time // when the first member left
}

func (p *planner) gang(j *logpb.Job) gang {
	g := gang{Generation: state.Current(j)}
	for _, m := range g.Generation.Members {
		g.members = append(g.members, p.member(j, m))
	}
	for i := range g.members {
		m := &g.members[i]
		if by := g.namedHung(m.WorkerId); by != nil && !m.left && !m.gone {
			m.gone, m.goneSince, m.why = true, by.holding.LeftAt, by.holding.How
		}
		switch {
		case m.left:
			g.left++
			g.fault = g.fault || !m.holding.Planned
			if g.firstLeft.IsZero() || m.holding.LeftAt.Before(g.firstLeft) {
				g.firstLeft = m.holding.LeftAt
			}
		case m.gone:
			g.gone++
		}
	}
	return g
}

// member finds out where a member is. Silence is death only after a lease, an ended stream at once; but neither ends a
// generation by itself, since the ring may be well: only a member that leaves does (or the absence of all). Before the first step
// there may be no ring; see unmade.
func (p *planner) member(j *logpb.Job, lm *logpb.Member) member {
	m := member{Member: lm}
	w, known := p.v.Workers[lm.WorkerId]
	registered := p.v.State.Worker(lm.WorkerId)
	switch {
	case registered.GetIncarnation() != lm.Incarnation, known && w.Incarnation != lm.Incarnation:
		m.gone, m.dead, m.why = true, true, "its process was restarted"
	case !known:
		if m.gone = p.now.Sub(p.v.Since) > p.policy.WorkerLease; m.gone {
			m.goneSince, m.why = p.v.Since, "it did not come back to the new leader"
		}
	case !w.Attached && w.Draining && w.Holding.Left:
		m.gone, m.dead, m.draining, m.why = true, true, true, "drained" // its process has ended, as it said
	case !w.Attached:
		m.gone, m.goneSince, m.why = true, w.DetachedAt, "its connection to the leader ended"
	case p.silent(w):
		m.gone, m.goneSince, m.why = true, w.Heard, fmt.Sprintf("not heard for %v", p.policy.WorkerLease)
	default:
		m.holding, m.draining = w.Holding, w.Draining
		m.left = w.Holding.Job == j.Id && w.Holding.Generation == state.Current(j).Number && w.Holding.Left
	}
	return m
}

func (p *planner) silent(w Worker) bool { return p.now.Sub(w.Heard) > p.policy.WorkerLease }

// namedHung is a member that has left and says that the worker hangs, or nil.
func (g *gang) namedHung(worker string) *member {
	i := slices.IndexFunc(g.members, func(m member) bool { return m.left && m.holding.Hung && m.holding.Culprit == worker })
	if i < 0 {
		return nil
	}
	return &g.members[i]
}

// blamed is the member that most others name; of several the last by rank. Empty: none is named.
func (g *gang) blamed() string {
	worst, most := "", 0
	for _, m := range g.members {
		votes := 0
		for _, o := range g.members {
			if o.left && !o.holding.Planned && o.holding.Culprit == m.WorkerId && o.WorkerId != m.WorkerId {
				votes++
			}
		}
		if votes >= max(most, 1) {
			worst, most = m.WorkerId, votes
		}
	}
	return worst
}

// holds reports whether the state in a worker's hands is one of this job's, on the way that the current gang has come. Bits
// depend on the job alone, but a job may have given that promise up (float32 sums, mixed classes), so a state that was
// overtaken by a return to a checkpoint, or that ran ahead of the generation after its own, is not used.
func holds(j *logpb.Job, h Holding) bool {
	current := state.Current(j)
	if h.Job != j.Id || h.Step < 0 || !h.Left || current == nil || h.Generation > current.Number {
		return false
	}
	for _, g := range slices.Backward(j.Generations) {
		if g.Number == h.Generation {
			return true
		}
		// g is later than the state: it must have gone on from holders, at this step or a later one.
		if len(g.Holders) == 0 || g.ResumeStep < h.Step {
			return false
		}
	}
	return false // forgotten, it is that old
}
