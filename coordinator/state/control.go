package state

import (
	"fmt"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// become changes the state of a job, with the reason in its history.
func become(j *logpb.Job, ms int64, to logpb.JobState, reason string) {
	j.State, j.Reason, j.Wish = to, shorten(reason), logpb.JobAction_JOB_ACTION_UNSPECIFIED
	if Ended(j) {
		j.EndedMs = max(ms, 1)
	}
	if to == logpb.JobState_JOB_STATE_FAILED {
		reason = "failed: " + reason
	}
	note(j, ms, reason)
}

// control does what can be done at once and records the rest as a wish, which the leader fulfils with the gang.
func control(j *logpb.Job, r *Result, ms int64, action logpb.JobAction) error {
	switch action {
	case logpb.JobAction_JOB_ACTION_PAUSE:
		return pause(j, r, ms)
	case logpb.JobAction_JOB_ACTION_RESUME:
		return resume(j, r, ms)
	case logpb.JobAction_JOB_ACTION_CANCEL:
		return cancel(j, r, ms)
	}
	return fmt.Errorf("%w: action %d, want pause, resume or cancel", ErrInvalid, action)
}

func pause(j *logpb.Job, r *Result, ms int64) error {
	switch {
	case j.State == logpb.JobState_JOB_STATE_QUEUED:
		become(j, ms, logpb.JobState_JOB_STATE_PAUSED, "paused before it ran")
	case j.State == logpb.JobState_JOB_STATE_PAUSED, j.Wish == logpb.JobAction_JOB_ACTION_PAUSE:
		r.Duplicate = true
	case j.State == logpb.JobState_JOB_STATE_RUNNING && j.Wish == logpb.JobAction_JOB_ACTION_UNSPECIFIED:
		j.Wish = logpb.JobAction_JOB_ACTION_PAUSE
		note(j, ms, "pause asked for")
	default:
		return fmt.Errorf("pause: %w: it is %s", ErrState, describe(j))
	}
	return nil
}

func resume(j *logpb.Job, r *Result, ms int64) error {
	switch {
	case j.State == logpb.JobState_JOB_STATE_PAUSED:
		become(j, ms, logpb.JobState_JOB_STATE_QUEUED, "resumed")
	case j.Wish == logpb.JobAction_JOB_ACTION_PAUSE:
		j.Wish = logpb.JobAction_JOB_ACTION_UNSPECIFIED
		note(j, ms, "pause withdrawn")
	case !Ended(j) && j.Wish == logpb.JobAction_JOB_ACTION_UNSPECIFIED:
		r.Duplicate = true
	default:
		return fmt.Errorf("resume: %w: it is %s", ErrState, describe(j))
	}
	return nil
}

func cancel(j *logpb.Job, r *Result, ms int64) error {
	switch {
	case j.State == logpb.JobState_JOB_STATE_CANCELLED, j.Wish == logpb.JobAction_JOB_ACTION_CANCEL:
		r.Duplicate = true
	case Live(j):
		j.Wish = logpb.JobAction_JOB_ACTION_CANCEL
		note(j, ms, "cancel asked for")
	case !Ended(j):
		become(j, ms, logpb.JobState_JOB_STATE_CANCELLED, "cancelled while it had no workers")
	default:
		return fmt.Errorf("cancel: %w: it is %s", ErrState, describe(j))
	}
	return nil
}

func describe(j *logpb.Job) string {
	if j.Wish == logpb.JobAction_JOB_ACTION_CANCEL {
		return StateName(j.State) + " and being cancelled"
	}
	return StateName(j.State)
}

func finishing(j *logpb.Job, r *Result, ms int64, generation uint64) error {
	if err := ofCurrent(j, generation); err != nil {
		return err
	}
	if j.State == logpb.JobState_JOB_STATE_FINISHING {
		r.Duplicate = true
		return nil
	}
	wish := j.Wish
	become(j, ms, logpb.JobState_JOB_STATE_FINISHING, "the last step is done; storing the final checkpoint")
	j.Wish = wish
	return nil
}

// finish ends what a person asked to end: only wishes can make a job paused or cancelled.
func finish(j *logpb.Job, ms int64, c *logpb.JobFinished) error {
	want := logpb.JobAction_JOB_ACTION_UNSPECIFIED
	switch c.State {
	case logpb.JobState_JOB_STATE_PAUSED:
		want = logpb.JobAction_JOB_ACTION_PAUSE
	case logpb.JobState_JOB_STATE_CANCELLED:
		want = logpb.JobAction_JOB_ACTION_CANCEL
	default:
		return fmt.Errorf("finish: %w: state %s, want paused or cancelled", ErrInvalid, StateName(c.State))
	}
	if !Live(j) || j.Wish != want {
		return fmt.Errorf("finish as %s: %w: it is %s and nobody asked for it", StateName(c.State), ErrState, describe(j))
	}
	become(j, ms, c.State, c.Reason)
	return nil
}

func fail(j *logpb.Job, r *Result, ms int64, c *logpb.JobFailed) error {
	if Ended(j) {
		if j.State == logpb.JobState_JOB_STATE_FAILED {
			r.Duplicate = true
			return nil
		}
		return fmt.Errorf("fail: %w: it is %s", ErrState, describe(j))
	}
	if c.Generation != 0 {
		if err := ofCurrent(j, c.Generation); err != nil {
			return err
		}
	}
	become(j, ms, logpb.JobState_JOB_STATE_FAILED, c.Error)
	return nil
}

// ofCurrent refuses what does not come from the gang that the job has now.
func ofCurrent(j *logpb.Job, generation uint64) error {
	if !Live(j) {
		return fmt.Errorf("%w: it is %s", ErrState, describe(j))
	}
	if now := Current(j).GetNumber(); generation != now {
		return fmt.Errorf("generation %d: %w: the job is in generation %d", generation, ErrStale, now)
	}
	return nil
}
