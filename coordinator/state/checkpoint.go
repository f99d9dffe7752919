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
	cp.CommittedMs, cp.Refused = ms, ""
	if found {
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

// retain gives up what is beyond the newest keep_checkpoints good ones; never the last good one. What this commit and the
// one before it gave up is told again, in case that the one who deletes has not heard.
func retain(j *logpb.Job, committed *logpb.Checkpoint) {
	last := int64(-1)
	if n := len(j.Retired); n > 0 {
		last = j.Retired[n-1].ByStep
	}
	j.Retired = slices.DeleteFunc(j.Retired, func(r *logpb.Retired) bool {
		return r.ByStep != last || r.Directory == committed.Directory
	})
	good, first := 0, 0 // checkpoints[first:] are kept
	for i, c := range slices.Backward(j.Checkpoints) {
		if keep := int(j.Demand.KeepCheckpoints); keep > 0 && good >= keep {
			first = i + 1
			break
		}
		if c.Refused == "" {
			good++
		}
	}
	for _, c := range j.Checkpoints[:first] {
		// A commit below older ones (redone after going back) may be its own victim; it stays for one more round.
		if c.Directory != committed.Directory {
			j.Retired = append(j.Retired, &logpb.Retired{Directory: c.Directory, ByStep: committed.Step})
		}
	}
	kept := j.Checkpoints[first:]
	if !slices.Contains(kept, committed) {
		kept = slices.Insert(slices.Clone(kept), 0, committed)
	}
	j.Checkpoints = newest(kept, MaxCheckpoints)
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
