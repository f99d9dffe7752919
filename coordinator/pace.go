package coordinator

import (
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// A member is slow if it computes at a shard longer than slowBegins times what others do, and until it is below slowEnds times. The first steps of a
// generation are passed over: they reserve memory.
const (
	slowBegins = 1.5
	slowEnds   = 1.25
	slowAfter  = 10
)

// onPace puts it into the job's history when a member becomes slow, and when it is no more: all others wait for it in every step. It is for people; nothing is
// decided by it.
func (l *leadership) onPace(j *logpb.Job, p *rpcpb.Progress) error {
	members := state.Current(j).Members
	if len(p.ShardSeconds) != len(members) || len(members) < 2 || p.Step < state.Current(j).ResumeStep+slowAfter {
		return nil
	}
	for r, m := range members {
		others := slices.Delete(slices.Clone(p.ShardSeconds), r, r+1)
		slices.Sort(others)
		own, usual := p.ShardSeconds[r], others[len(others)/2]
		key := pace{j.Id, m.WorkerId}
		switch was := l.slow[key]; {
		case !was && own > slowBegins*usual && usual > 0:
			l.slow[key] = true
			if err := l.note(j.Id, fmt.Sprintf("worker %s on %s is slow at step %d: %.3g s a shard, others %.3g s", m.WorkerId, l.c.fsm.View().Worker(m.WorkerId).GetHost(), p.Step, own, usual)); err != nil {
				return err
			}
		case was && own < slowEnds*usual:
			delete(l.slow, key)
			if err := l.note(j.Id, fmt.Sprintf("worker %s is as fast as the others again at step %d", m.WorkerId, p.Step)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pace names a worker in a job's gang.
type pace struct{ job, worker string }
