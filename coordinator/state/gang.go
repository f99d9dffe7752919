package state

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// createGeneration admits a gang, whole or not at all.
func (s *State) createGeneration(j *logpb.Job, index uint64, ms int64, g *logpb.Generation) error {
	if err := s.admissibleGang(j, g); err != nil {
		return fmt.Errorf("generation %d: %w", g.GetNumber(), err)
	}
	g = proto.CloneOf(g)
	g.Index, g.CreatedMs, g.Reason = index, ms, shorten(g.Reason)
	if !j.Demand.Mixed {
		j.NumericsClass = g.NumericsClass
	}
	j.Generations = newest(append(j.Generations, g), MaxGenerations)
	j.State, j.Reason = logpb.JobState_JOB_STATE_RUNNING, g.Reason
	note(j, ms, fmt.Sprintf("generation %d: %s", g.Number, g.Reason))
	return nil
}

func (s *State) admissibleGang(j *logpb.Job, g *logpb.Generation) error {
	d := j.Demand
	n := len(g.GetMembers())
	switch {
	case !Live(j) && j.State != logpb.JobState_JOB_STATE_QUEUED:
		return fmt.Errorf("%w: the job is %s", ErrState, describe(j))
	case g.GetNumber() != Current(j).GetNumber()+1:
		return fmt.Errorf("%w: the job is in generation %d", ErrStale, Current(j).GetNumber())
	case n < int(d.MinWorkers) || n > int(min(d.MaxWorkers, d.Shards)):
		return fmt.Errorf("%w: %d members, want %d..%d", ErrInvalid, n, d.MinWorkers, min(d.MaxWorkers, d.Shards))
	case g.ResumeStep < 0:
		return fmt.Errorf("%w: resume step %d", ErrInvalid, g.ResumeStep)
	case len(g.Holders) == 0 && g.ResumeUrl == "" && g.ResumeStep != 0:
		return fmt.Errorf("%w: step %d has neither holders nor a checkpoint", ErrInvalid, g.ResumeStep)
	}
	for _, h := range g.Holders {
		if h < 0 || int(h) >= n {
			return fmt.Errorf("%w: holder %d of %d members", ErrInvalid, h, n)
		}
	}
	if err := partition(g, int(d.Shards)); err != nil {
		return err
	}
	return s.admissibleMembers(j, g)
}

func (s *State) admissibleMembers(j *logpb.Job, g *logpb.Generation) error {
	seen := map[string]bool{}
	for _, m := range g.Members {
		w := s.view.Worker(m.WorkerId)
		switch {
		case w == nil:
			return fmt.Errorf("worker %q: %w", m.WorkerId, ErrNotFound)
		case seen[m.WorkerId]:
			return fmt.Errorf("%w: worker %s twice", ErrInvalid, m.WorkerId)
		case m.Incarnation != w.Incarnation:
			return fmt.Errorf("%w: worker %s has been restarted", ErrStale, m.WorkerId)
		case !Fits(j.Demand, w):
			return fmt.Errorf("%w: worker %s has device %s, the job wants %s", ErrInvalid, m.WorkerId, w.Device, j.Demand.Device)
		case !j.Demand.Mixed && w.NumericsClass != g.NumericsClass:
			return fmt.Errorf("%w: worker %s is of numerics class %q, the gang of %q", ErrInvalid, m.WorkerId, w.NumericsClass, g.NumericsClass)
		}
		if other := s.view.GangOf(m.WorkerId); other != nil && other.Id != j.Id {
			return fmt.Errorf("%w: worker %s is in the gang of job %s", ErrState, m.WorkerId, other.Id)
		}
		seen[m.WorkerId] = true
	}
	if !j.Demand.Mixed && Current(j) != nil && g.NumericsClass != j.NumericsClass {
		return fmt.Errorf("%w: numerics class %q, the job began on %q", ErrInvalid, g.NumericsClass, j.NumericsClass)
	}
	return nil
}

// partition checks that every shard has exactly one owner and every member a shard.
func partition(g *logpb.Generation, shards int) error {
	leased := 0
	for _, m := range g.Members {
		leased += len(m.Shards)
	}
	if leased != shards { // before memory is asked for: the number may come from a snapshot
		return fmt.Errorf("%w: %d of %d shards are leased", ErrInvalid, leased, shards)
	}
	owned := make([]bool, shards)
	for _, m := range g.Members {
		if len(m.Shards) == 0 {
			return fmt.Errorf("%w: worker %s has no shard", ErrInvalid, m.WorkerId)
		}
		for _, s := range m.Shards {
			if s < 0 || int(s) >= shards || owned[s] {
				return fmt.Errorf("%w: shard %d of %d is out of range or leased twice", ErrInvalid, s, shards)
			}
			owned[s] = true
		}
	}
	return nil
}

// mark records coarse progress.
func mark(j *logpb.Job, m *logpb.Mark) error {
	if err := ofCurrent(j, m.GetGeneration()); err != nil {
		return err
	}
	j.Mark = proto.CloneOf(m)
	return nil
}
