package state

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// dispute records that members of the current gang held unlike states of one step, and that none of them was found to be wrong: the newest checkpoint counts, and the
// step is made again. Chance does not strike twice at the same step. If members of one class disagree about it again, what they compute differs, and it would for ever.
func (s *State) dispute(j *logpb.Job, r *Result, ms int64, d *logpb.Dispute) error {
	if err := ofCurrent(j, d.GetGeneration()); err != nil {
		return err
	}
	if n := len(j.Disputes); n > 0 && j.Disputes[n-1].Generation == d.Generation {
		r.Duplicate = true // every member that noticed says so
		return nil
	}
	if err := checkDispute(d, Current(j)); err != nil {
		return fmt.Errorf("dispute: %w", err)
	}
	d = proto.CloneOf(d)
	a, b, class := s.unlike(Current(j), d.Digests)
	who := func(rank int) string {
		return fmt.Sprintf("worker %s had %s", Current(j).Members[rank].WorkerId, d.Digests[rank])
	}
	d.NumericsClass, d.Text = class, shorten(who(a)+", "+who(b))
	first := disputed(j.Disputes, d)
	j.Disputes = newest(append(j.Disputes, d), MaxDisputes)
	if first == nil {
		note(j, ms, fmt.Sprintf("members disagree about the state at step %d, and nobody can tell whose is right: %s", d.Step, d.Text))
		return nil
	}
	become(j, ms, logpb.JobState_JOB_STATE_FAILED, fmt.Sprintf("members of numerics class %q disagree about the state at step %d a second time: %s; in generation %d %s",
		class, d.Step, d.Text, first.Generation, first.Text))
	return nil
}

// unlike are the first two members of one class that have unlike digests; if there are none, two of different classes, and no class.
func (s *State) unlike(g *logpb.Generation, digests []string) (a, b int, class string) {
	firsts := map[string]int{}
	for rank, m := range g.Members {
		c := s.view.Worker(m.WorkerId).GetNumericsClass()
		first, found := firsts[c]
		switch {
		case !found:
			firsts[c] = rank
		case digests[first] != digests[rank]:
			return first, rank, c
		}
		if b == 0 && digests[rank] != digests[0] {
			b = rank
		}
	}
	return 0, b, ""
}

// disputed is the dispute about the same step in the same class, or nil.
func disputed(list []*logpb.Dispute, d *logpb.Dispute) *logpb.Dispute {
	for _, old := range list {
		if old.Step == d.Step && old.NumericsClass == d.NumericsClass && d.NumericsClass != "" {
			return old
		}
	}
	return nil
}

// checkDispute refuses what no members of the generation can have found.
func checkDispute(d *logpb.Dispute, g *logpb.Generation) error {
	if d.Step < g.ResumeStep {
		return fmt.Errorf("%w: step %d, generation %d began at step %d", ErrInvalid, d.Step, g.Number, g.ResumeStep)
	}
	if len(d.Digests) != len(g.Members) {
		return fmt.Errorf("%w: %d digests of %d members", ErrInvalid, len(d.Digests), len(g.Members))
	}
	unlike := false
	for rank, digest := range d.Digests {
		if len(digest) != 16 {
			return fmt.Errorf("%w: digest %q of rank %d, want 16 hex digits", ErrInvalid, digest, rank)
		}
		unlike = unlike || digest != d.Digests[0]
	}
	if !unlike {
		return fmt.Errorf("%w: all members have digest %s at step %d", ErrInvalid, d.Digests[0], d.Step)
	}
	return nil
}

// checkDisputes checks the invariants of a job's disputes.
func checkDisputes(j *logpb.Job) (errs []error) {
	for i, d := range j.Disputes {
		if d.Generation > Current(j).GetNumber() || i > 0 && d.Generation <= j.Disputes[i-1].Generation {
			errs = append(errs, fmt.Errorf("dispute about step %d: generation %d is out of order", d.Step, d.Generation))
		}
		for _, g := range j.Generations {
			if err := checkDispute(d, g); g.Number == d.Generation && err != nil {
				errs = append(errs, fmt.Errorf("dispute of generation %d: %w", d.Generation, err))
			}
		}
		if old := disputed(j.Disputes[:i], d); old != nil && j.State != logpb.JobState_JOB_STATE_FAILED {
			errs = append(errs, fmt.Errorf("%s after disputes about step %d in generations %d and %d", StateName(j.State), d.Step, old.Generation, d.Generation))
		}
	}
	return errs
}
