package coordinator

import (
	"strings"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// info is a job as people see it: what the log says, and what only the leader knows.
func (l *leadership) info(j *logpb.Job) *rpcpb.JobInfo {
	p := l.public.Load()
	i := &rpcpb.JobInfo{
		Id: j.Id, Name: j.Demand.Name, State: rpcpb.JobState(j.State), Reason: j.Reason, Spec: j.Spec, JobDigest: j.Demand.JobDigest,
		SubmittedMs: j.SubmittedMs, EndedMs: j.EndedMs, Steps: j.Demand.Steps, Progress: progress(j, p.progress[j.Id]),
	}
	if n := len(j.Events); n > 0 && j.State == logpb.JobState_JOB_STATE_FINISHING && strings.HasPrefix(j.Events[n-1].Text, finalTrouble) {
		i.Reason = j.Events[n-1].Text
	}
	if note := p.notes[j.Id]; note != "" && !state.Ended(j) && j.State != logpb.JobState_JOB_STATE_PAUSED {
		i.Reason = note
	}
	switch j.Wish {
	case logpb.JobAction_JOB_ACTION_PAUSE:
		i.Reason = "pause asked for, with a checkpoint after the step: " + i.Reason
	case logpb.JobAction_JOB_ACTION_CANCEL:
		i.Reason = "cancel asked for, after the step: " + i.Reason
	}
	for _, g := range j.Generations {
		info := &rpcpb.GenerationInfo{Number: g.Number, FirstStep: g.ResumeStep, Reason: g.Reason, CreatedMs: g.CreatedMs}
		for _, m := range g.Members {
			info.Members = append(info.Members, m.WorkerId)
		}
		i.Generations = append(i.Generations, info)
	}
	for _, c := range j.Checkpoints {
		if c.Refused == "" {
			i.Checkpoints = append(i.Checkpoints, &rpcpb.CheckpointInfo{Step: c.Step, Directory: c.Directory, StateDigest: c.StateDigest,
				ManifestSha256: c.ManifestSha256, Generation: c.Generation, Final: c.Final, Score: c.Score})
		}
	}
	for _, e := range j.Events {
		i.Events = append(i.Events, &rpcpb.Event{Number: e.Number, TimeMs: e.TimeMs, Text: e.Text})
	}
	return i
}

// progress is the leader's own knowledge, or the mark in the log if that is further on.
func progress(j *logpb.Job, fine *rpcpb.Progress) *rpcpb.Progress {
	m := j.Mark
	if m == nil || fine != nil && fine.Generation >= m.Generation {
		return fine
	}
	return &rpcpb.Progress{JobId: j.Id, Generation: m.Generation, Step: m.Step, Loss: m.Loss, Users: m.Users, Tokens: m.Tokens, TimeMs: m.TimeMs}
}
