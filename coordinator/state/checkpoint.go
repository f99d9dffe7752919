package state

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// commit makes a checkpoint count: once, from the current gang only, and never with two digests for one step.
func commit(j *logpb.Job, r *Result, ms int64, c *logpb.CheckpointCommitted) error {
	cp := c.GetCheckpoint()
	if cp.GetStep() < 0 || cp.GetDirectory() == "" || cp.GetStateDigest() == "" {
		return fmt.Errorf("commit checkpoint: %w: step %d, directory %q, state digest %q", ErrInvalid, cp.GetStep(), cp.GetDirectory(), cp.GetStateDigest())
	}
	at, found := checkpointAt(j, cp.Step)
	if found && j.Checkpoints[at].StateDigest != cp.StateDigest {
		return fmt.Errorf("commit checkpoint at step %d: %w: digest %s, committed before with %s", cp.Step, ErrConflict, cp.StateDigest, j.Checkpoints[at].StateDigest)
	}
	// A duplicate of an older gang, or of one that has ended, is a success: the digest says that it is the same state.
	if found && (!cp.Final || j.Checkpoints[at].Final) && !c.Pause && j.Checkpoints[at].Refused == "" {
		r.Duplicate = true
		r.Retire = directories(j.Retired)
		return nil
	}
	if err := ofCurrent(j, cp.Generation); err != nil {
		return fmt.Errorf("commit checkpoint at step %d: %w", cp.Step, err)
	}
	cp = proto.CloneOf(cp)
	cp.CommittedMs, cp.Refused, cp.Score = ms, "", takeScore(j, cp.Step)
	if found {
		cp.Score = j.Checkpoints[at].Score
		j.Checkpoints[at] = cp
	} else {
		j.Checkpoints = slices.Insert(j.Checkpoints, at, cp)
	}
	note(j, ms, fmt.Sprintf("checkpoint at step %d committed: %s", cp.Step, cp.Directory))
	retain(j, cp)
	r.Retire = directories(j.Retired)
	endByCheckpoint(j, ms, cp, c.Pause)
	return nil
}

func checkpointAt(j *logpb.Job, step int64) (int, bool) {
	return slices.BinarySearchFunc(j.Checkpoints, step, func(c *logpb.Checkpoint, step int64) int { return cmp.Compare(c.Step, step) })
}

// endByCheckpoint: the final checkpoint is the success; one that a pause asked for is the pause.
func endByCheckpoint(j *logpb.Job, ms int64, cp *logpb.Checkpoint, pause bool) {
	asked := j.Wish == logpb.JobAction_JOB_ACTION_PAUSE
	early := j.Demand.Steps > 0 && cp.Step < LastStep(j.Demand)
	switch {
	case asked && (pause || cp.Final && early):
		become(j, ms, logpb.JobState_JOB_STATE_PAUSED, fmt.Sprintf("paused at step %d", cp.Step))
	case cp.Final:
		become(j, ms, logpb.JobState_JOB_STATE_SUCCEEDED, fmt.Sprintf("finished at step %d", cp.Step))
	}
}

func directories(retired []*logpb.Retired) []string {
	var out []string
	for _, r := range retired {
		out = append(out, r.Directory)
	}
	return out
}

// refuse marks a checkpoint that did not load. One that the job did not write itself ends the job: there is nothing older.
func refuse(j *logpb.Job, r *Result, ms int64, c *logpb.CheckpointRefused) error {
	if err := ofCurrent(j, c.Generation); err != nil {
		return fmt.Errorf("refuse checkpoint %s: %w", c.Directory, err)
	}
	i := slices.IndexFunc(j.Checkpoints, func(cp *logpb.Checkpoint) bool { return cp.Directory == c.Directory })
	if i < 0 {
		return fmt.Errorf("refuse checkpoint %s: %w", c.Directory, ErrNotFound)
	}
	if j.Checkpoints[i].Refused != "" {
		r.Duplicate = true
		return nil
	}
	j.Checkpoints[i].Refused = shorten(c.Error)
	note(j, ms, fmt.Sprintf("checkpoint %s does not load and is passed over: %s", c.Directory, c.Error))
	return nil
}
