package state

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// Result is what a command did.
type Result struct {
	Index     uint64
	Job       *logpb.Job // the job after it, if it was about one; read-only
	Duplicate bool       // it had been done before: nothing changed
	Retire    []string   // directories of checkpoints that may be deleted
}

// Apply applies entry index. An error wraps one of the package's; then nothing but the index has changed.
func (s *State) Apply(index uint64, cmd *logpb.Command) (Result, error) {
	if index <= s.view.Index {
		return Result{}, fmt.Errorf("apply entry %d: %w: entry %d is applied already", index, ErrInvalid, s.view.Index)
	}
	s.view.Index = index
	r, err := s.apply(index, cmd)
	if err != nil {
		return Result{Index: index}, err
	}
	r.Index = index
	return r, nil
}

func (s *State) apply(index uint64, cmd *logpb.Command) (Result, error) {
	ms := cmd.GetTimeMs()
	switch c := cmd.GetCommand().(type) {
	case *logpb.Command_JobSubmitted:
		return s.submit(index, ms, c.JobSubmitted)
	case *logpb.Command_JobControlled:
		return s.edit(c.JobControlled.JobId, func(j *logpb.Job, r *Result) error { return control(j, r, ms, c.JobControlled.Action) })
	case *logpb.Command_WorkerRegistered:
		return s.register(c.WorkerRegistered.Worker)
	case *logpb.Command_WorkerGone:
		return s.forget(c.WorkerGone.WorkerId)
	case *logpb.Command_GenerationCreated:
		return s.edit(c.GenerationCreated.JobId, func(j *logpb.Job, r *Result) error {
			return s.createGeneration(j, index, ms, c.GenerationCreated.Generation)
		})
	case *logpb.Command_CheckpointCommitted:
		return s.edit(c.CheckpointCommitted.JobId, func(j *logpb.Job, r *Result) error { return commit(j, r, ms, c.CheckpointCommitted) })
	case *logpb.Command_CheckpointRefused:
		return s.edit(c.CheckpointRefused.JobId, func(j *logpb.Job, r *Result) error { return refuse(j, r, ms, c.CheckpointRefused) })
	case *logpb.Command_ProgressMarked:
		return s.edit(c.ProgressMarked.JobId, func(j *logpb.Job, _ *Result) error { return mark(j, c.ProgressMarked.Mark) })
	case *logpb.Command_JobFinishing:
		return s.edit(c.JobFinishing.JobId, func(j *logpb.Job, r *Result) error { return finishing(j, r, ms, c.JobFinishing.Generation) })
	case *logpb.Command_JobFinished:
		return s.edit(c.JobFinished.JobId, func(j *logpb.Job, _ *Result) error { return finish(j, ms, c.JobFinished) })
	case *logpb.Command_JobFailed:
		return s.edit(c.JobFailed.JobId, func(j *logpb.Job, r *Result) error { return fail(j, r, ms, c.JobFailed) })
	case *logpb.Command_JobEvaluated:
		return s.edit(c.JobEvaluated.JobId, func(j *logpb.Job, _ *Result) error { return evaluated(j, ms, c.JobEvaluated) })
	case *logpb.Command_StatesDiffered:
		return s.edit(c.StatesDiffered.JobId, func(j *logpb.Job, r *Result) error { return s.dispute(j, r, ms, c.StatesDiffered.Dispute) })
	case *logpb.Command_JobNoted:
		return s.edit(c.JobNoted.JobId, func(j *logpb.Job, _ *Result) error { note(j, ms, c.JobNoted.Text); return nil })
	}
	return Result{}, fmt.Errorf("%w: command of unknown kind %T", ErrInvalid, cmd.GetCommand())
}

// edit changes a copy of a job and puts it in place if change succeeds, so that views stay as they are.
func (s *State) edit(id string, change func(*logpb.Job, *Result) error) (Result, error) {
	i := s.view.jobAt(id)
	if i < 0 {
		return Result{}, fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	r := Result{Job: proto.CloneOf(s.view.Jobs[i])}
	if err := change(r.Job, &r); err != nil {
		return Result{}, fmt.Errorf("job %s: %w", id, err)
	}
	if r.Duplicate {
		r.Job = s.view.Jobs[i]
		return r, nil
	}
	s.view.Jobs = slices.Clone(s.view.Jobs)
	s.view.Jobs[i] = r.Job
	return r, nil
}

func (s *State) submit(index uint64, ms int64, c *logpb.JobSubmitted) (Result, error) {
	if old := s.view.JobByKey(c.Key); old != nil {
		if !bytes.Equal(old.Spec, c.Spec) || !resumesAs(old, c) {
			return Result{}, fmt.Errorf("submit under key %q: %w: job %s has another spec or resume point", c.Key, ErrExists, old.Id)
		}
		return Result{Job: old, Duplicate: true}, nil
	}
	if err := s.admissible(c); err != nil {
		return Result{}, err
	}
	j := &logpb.Job{
		Id: c.JobId, Key: c.Key, Spec: c.Spec, Demand: proto.CloneOf(c.Demand), ResumeUrl: c.ResumeUrl, ResumeStep: c.ResumeStep,
		SubmittedIndex: index, SubmittedMs: ms, State: logpb.JobState_JOB_STATE_QUEUED, Reason: "queued",
	}
	note(j, ms, "submitted")
	s.view.Jobs = append(s.withoutOldEnded(), j)
	return Result{Job: j}, nil
}

// resumesAs tells whether a submission begins where an earlier one did. Of a run, the newest checkpoint is meant: when the same is asked for again, the
// run may have come further.
func resumesAs(old *logpb.Job, c *logpb.JobSubmitted) bool {
	if old.ResumeUrl == c.ResumeUrl {
		return old.ResumeStep == c.ResumeStep
	}
	return old.ResumeUrl != "" && path.Dir(old.ResumeUrl) == path.Dir(c.ResumeUrl) && old.ResumeStep < c.ResumeStep
}

func (s *State) admissible(c *logpb.JobSubmitted) error {
	d := c.GetDemand()
	live := 0
	for _, j := range s.view.Jobs {
		if !Ended(j) {
			live++
		}
	}
	switch {
	case c.JobId == "":
		return fmt.Errorf("submit: %w: no job id", ErrInvalid)
	case s.view.Job(c.JobId) != nil:
		return fmt.Errorf("submit: job id %s: %w", c.JobId, ErrExists)
	case len(c.Spec) > MaxSpec:
		return fmt.Errorf("submit: %w: spec of %d bytes, at most %d are allowed", ErrInvalid, len(c.Spec), MaxSpec)
	case d.GetMinWorkers() < 1 || d.GetMaxWorkers() < d.GetMinWorkers():
		return fmt.Errorf("submit: %w: workers %d..%d, want 1 <= min <= max", ErrInvalid, d.GetMinWorkers(), d.GetMaxWorkers())
	case d.GetShards() < d.GetMinWorkers():
		return fmt.Errorf("submit: %w: %d shards for min %d workers, want a shard each", ErrInvalid, d.GetShards(), d.GetMinWorkers())
	case d.GetSteps() < 0 || d.GetStopAt() < 0 || c.ResumeStep < 0:
		return fmt.Errorf("submit: %w: steps %d, stop_at %d, resume step %d: want none below 0", ErrInvalid, d.GetSteps(), d.GetStopAt(), c.ResumeStep)
	case live >= MaxLiveJobs:
		return fmt.Errorf("submit: %w: %d jobs have not ended, at most %d are kept", ErrFull, live, MaxLiveJobs)
	}
	return nil
}

// withoutOldEnded is a copy of the jobs with room for one more ended one.
func (s *State) withoutOldEnded() []*logpb.Job {
	ended := 0
	for _, j := range s.view.Jobs {
		if Ended(j) {
			ended++
		}
	}
	out := make([]*logpb.Job, 0, len(s.view.Jobs)+1)
	for _, j := range s.view.Jobs {
		if Ended(j) && ended > MaxEndedJobs {
			ended--
			continue
		}
		out = append(out, j)
	}
	return out
}

func (s *State) register(w *logpb.Worker) (Result, error) {
	if w.GetId() == "" || w.GetIncarnation() == "" || w.GetDevice() == "" {
		return Result{}, fmt.Errorf("register worker: %w: id %q, incarnation %q, device %q: want none empty", ErrInvalid, w.GetId(), w.GetIncarnation(), w.GetDevice())
	}
	i, found := s.view.workerAt(w.Id)
	if found && proto.Equal(s.view.Workers[i], w) {
		return Result{Duplicate: true}, nil
	}
	ws := slices.Clone(s.view.Workers)
	if found {
		ws[i] = proto.CloneOf(w)
	} else if len(ws) >= MaxWorkers {
		return Result{}, fmt.Errorf("register worker %s: %w: at most %d workers", w.Id, ErrFull, MaxWorkers)
	} else {
		ws = slices.Insert(ws, i, proto.CloneOf(w))
	}
	s.view.Workers = ws
	return Result{}, nil
}

func (s *State) forget(id string) (Result, error) {
	i, found := s.view.workerAt(id)
	if !found {
		return Result{Duplicate: true}, nil
	}
	if j := s.view.GangOf(id); j != nil {
		return Result{}, fmt.Errorf("forget worker %s: %w: it is in the gang of job %s", id, ErrState, j.Id)
	}
	s.view.Workers = slices.Delete(slices.Clone(s.view.Workers), i, i+1)
	return Result{}, nil
}

// note adds an event.
func note(j *logpb.Job, ms int64, text string) {
	number := uint64(1)
	if n := len(j.Events); n > 0 {
		number = j.Events[n-1].Number + 1
	}
	j.Events = newest(append(j.Events, &logpb.Event{Number: number, TimeMs: ms, Text: shorten(text)}), MaxEvents)
}

// Says tells whether one of the newest n events of a job's history has this text.
func Says(j *logpb.Job, n int, text string) bool {
	text = shorten(text)
	return slices.ContainsFunc(newest(j.GetEvents(), n), func(e *logpb.Event) bool { return e.Text == text })
}

// newest keeps the last n elements.
func newest[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

// shorten makes a text one valid, bounded line: texts come from far away.
func shorten(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\n", "; "), "?")
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
