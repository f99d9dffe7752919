package state

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// Check must be able to fail.
func TestCheckFindsBrokenInvariants(t *testing.T) {
	for name, breakIt := range map[string]func(s *State, j *logpb.Job){
		"two gangs": func(s *State, j *logpb.Job) {
			o := proto.CloneOf(j)
			o.Id, o.Key, o.SubmittedIndex = "b", "", 99
			s.view.Jobs = append(s.view.Jobs, o)
		},
		"no gang": func(s *State, j *logpb.Job) { j.Generations = nil },
		"a gap": func(s *State, j *logpb.Job) {
			g := proto.CloneOf(j.Generations[0])
			g.Number = 3
			j.Generations = append(j.Generations, g)
		},
		"shards":  func(s *State, j *logpb.Job) { j.Generations[0].Members[0].Shards = nil },
		"ended":   func(s *State, j *logpb.Job) { j.EndedMs = 3 },
		"wish":    func(s *State, j *logpb.Job) { j.State, j.Wish = logpb.JobState_JOB_STATE_QUEUED, pauseAction },
		"success": func(s *State, j *logpb.Job) { j.State, j.EndedMs = logpb.JobState_JOB_STATE_SUCCEEDED, 1 },
		"future":  func(s *State, j *logpb.Job) { j.Checkpoints = []*logpb.Checkpoint{{Step: 1, Generation: 7}} },
		"order":   func(s *State, j *logpb.Job) { j.Checkpoints = []*logpb.Checkpoint{{Step: 2}, {Step: 2}} },
		"retired": func(s *State, j *logpb.Job) {
			j.Checkpoints = []*logpb.Checkpoint{{Directory: "x"}}
			j.Retired = []*logpb.Retired{{Directory: "x"}}
		},
		"a dispute of the future": func(s *State, j *logpb.Job) {
			j.Disputes = []*logpb.Dispute{{Generation: 7, Step: 1, Digests: []string{digestA, digestB}}}
		},
		"a dispute without a difference": func(s *State, j *logpb.Job) {
			j.Disputes = []*logpb.Dispute{{Generation: 1, Step: 1, Digests: []string{digestA, digestA}}}
		},
		"two disputes of a generation": func(s *State, j *logpb.Job) {
			d := &logpb.Dispute{Generation: 1, Step: 1, Digests: []string{digestA, digestB}}
			j.Disputes = []*logpb.Dispute{d, d}
		},
		"healed twice": func(s *State, j *logpb.Job) {
			g := proto.CloneOf(j.Generations[0])
			g.Number = 2
			j.Generations = append(j.Generations, g)
			for n := range uint64(2) {
				j.Disputes = append(j.Disputes, &logpb.Dispute{Generation: n + 1, Step: 1, Digests: []string{digestA, digestB}, NumericsClass: "k"})
			}
		},
		"unknown": func(s *State, j *logpb.Job) { s.view.Workers = s.view.Workers[1:] },
		"event":   func(s *State, j *logpb.Job) { j.Events[0].Number = 9 },
		"class":   func(s *State, j *logpb.Job) { j.NumericsClass = "other" },
		"same key": func(s *State, j *logpb.Job) {
			s.view.Jobs = append(s.view.Jobs, &logpb.Job{Id: "c", Key: "key", SubmittedIndex: 99, State: 1, Reason: "r", Demand: demand()})
		},
		"two ids": func(s *State, j *logpb.Job) {
			s.view.Jobs = append(s.view.Jobs, &logpb.Job{Id: "a", SubmittedIndex: 99, State: 1, Reason: "r", Demand: demand()})
		},
		"submission": func(s *State, j *logpb.Job) {
			s.view.Jobs = append(s.view.Jobs, &logpb.Job{Id: "c", State: 1, Reason: "r", Demand: demand()})
		},
	} {
		m := running(t)
		j := proto.CloneOf(m.view.Jobs[0])
		m.view.Jobs = []*logpb.Job{j}
		breakIt(m.State, j)
		if m.Check() == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
