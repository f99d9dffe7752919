package state

import (
	"errors"
	"fmt"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// Check returns every violated invariant. The invariants are written beside the fields, in proto/logpb/log.proto.
func (s *State) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	v := s.view
	gang := map[string]string{}
	keys := map[string]string{}
	ids := map[string]bool{}
	for i, j := range v.Jobs {
		if ids[j.Id] {
			bad("job %s is there twice", j.Id)
		}
		ids[j.Id] = true
		if i > 0 && v.Jobs[i-1].SubmittedIndex >= j.SubmittedIndex {
			bad("job %s is out of the order of submission", j.Id)
		}
		if other, taken := keys[j.Key]; taken && j.Key != "" {
			bad("jobs %s and %s have the same key", other, j.Id)
		}
		keys[j.Key] = j.Id
		if Live(j) {
			for _, m := range Current(j).GetMembers() {
				if other, taken := gang[m.WorkerId]; taken {
					bad("worker %s is in the gangs of jobs %s and %s", m.WorkerId, other, j.Id)
				}
				gang[m.WorkerId] = j.Id
				if v.Worker(m.WorkerId) == nil {
					bad("worker %s of the gang of job %s is not registered", m.WorkerId, j.Id)
				}
			}
		}
		for _, err := range checkJob(j) {
			bad("job %s: %w", j.Id, err)
		}
	}
	for i, w := range v.Workers {
		if i > 0 && v.Workers[i-1].Id >= w.Id {
			bad("worker %s is out of order", w.Id)
		}
	}
	if len(v.Workers) > MaxWorkers {
		bad("%d workers, at most %d", len(v.Workers), MaxWorkers)
	}
	return errors.Join(errs...)
}

func checkJob(j *logpb.Job) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if j.Demand == nil {
		bad("no demand")
	}
	if j.State == logpb.JobState_JOB_STATE_UNSPECIFIED || j.Reason == "" {
		bad("state %s with reason %q", StateName(j.State), j.Reason)
	}
	if Ended(j) != (j.EndedMs > 0) {
		bad("%s, ended at %d", StateName(j.State), j.EndedMs)
	}
	if Live(j) && Current(j) == nil {
		bad("%s without a generation", StateName(j.State))
	}
	if j.Wish != logpb.JobAction_JOB_ACTION_UNSPECIFIED && !Live(j) {
		bad("%s with the wish %s", StateName(j.State), j.Wish)
	}
	if j.State == logpb.JobState_JOB_STATE_SUCCEEDED && !anyFinal(j) {
		bad("succeeded without a final checkpoint")
	}
	if len(j.Events) > MaxEvents || len(j.Generations) > MaxGenerations || len(j.Checkpoints) > MaxCheckpoints || len(j.Scores) > MaxScores || len(j.Disputes) > MaxDisputes {
		bad("%d events, %d generations, %d checkpoints, %d scores, %d disputes", len(j.Events), len(j.Generations), len(j.Checkpoints), len(j.Scores), len(j.Disputes))
	}
	for i := 1; i < len(j.Events); i++ {
		if j.Events[i].Number != j.Events[i-1].Number+1 {
			bad("event %d after %d", j.Events[i].Number, j.Events[i-1].Number)
		}
	}
	errs = append(errs, checkGenerations(j)...)
	errs = append(errs, checkDisputes(j)...)
	return append(errs, checkCheckpoints(j)...)
}

func anyFinal(j *logpb.Job) bool {
	for _, c := range j.Checkpoints {
		if c.Final {
			return true
		}
	}
	return false
}

func checkGenerations(j *logpb.Job) (errs []error) {
	for i, g := range j.Generations {
		if i > 0 && g.Number != j.Generations[i-1].Number+1 {
			errs = append(errs, fmt.Errorf("generation %d after %d", g.Number, j.Generations[i-1].Number))
		}
		if err := partition(g, int(j.Demand.GetShards())); err != nil {
			errs = append(errs, fmt.Errorf("generation %d: %w", g.Number, err))
		}
		if !j.Demand.GetMixed() && g.NumericsClass != j.NumericsClass {
			errs = append(errs, fmt.Errorf("generation %d is of numerics class %q, the job of %q", g.Number, g.NumericsClass, j.NumericsClass))
		}
	}
	return errs
}

func checkCheckpoints(j *logpb.Job) (errs []error) {
	kept := map[string]bool{}
	for i, c := range j.Checkpoints {
		kept[c.Directory] = true
		if i > 0 && c.Step <= j.Checkpoints[i-1].Step {
			errs = append(errs, fmt.Errorf("checkpoint at step %d after %d", c.Step, j.Checkpoints[i-1].Step))
		}
		if c.Generation > Current(j).GetNumber() {
			errs = append(errs, fmt.Errorf("checkpoint at step %d of generation %d", c.Step, c.Generation))
		}
	}
	for i, s := range j.Scores {
		if _, found := checkpointAt(j, s.Step); found || i > 0 && s.Step <= j.Scores[i-1].Step {
			errs = append(errs, fmt.Errorf("score of step %d: there is a checkpoint, or it is out of order", s.Step))
		}
	}
	for _, r := range j.Retired {
		if kept[r.Directory] {
			errs = append(errs, fmt.Errorf("checkpoint %s is kept and retired", r.Directory))
		}
	}
	return errs
}
