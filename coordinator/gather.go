package coordinator

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// gathering are the checkpoints of one generation whose parts are being written: who has reported which.
type gathering struct {
	generation uint64
	steps      map[int64]map[string]*rpcpb.PartsWritten // by step, then worker
}

const maxGathering = 4 // checkpoints in flight per job; members have one at a time, and may be one apart

func (l *leadership) gather(j *logpb.Job) *gathering {
	g := l.gathering[j.Id]
	if now := state.Current(j).Number; g == nil || g.generation != now {
		g = &gathering{generation: now, steps: map[int64]map[string]*rpcpb.PartsWritten{}}
		l.gathering[j.Id] = g
	}
	return g
}

func (g *gathering) add(worker string, m *rpcpb.PartsWritten) {
	if g.steps[m.Step] == nil {
		g.steps[m.Step] = map[string]*rpcpb.PartsWritten{}
	}
	g.steps[m.Step][worker] = m
	for len(g.steps) > maxGathering {
		delete(g.steps, slices.Min(slices.Collect(maps.Keys(g.steps))))
	}
}

// forget drops what was gathered up to a step.
func (g *gathering) forget(step int64) {
	maps.DeleteFunc(g.steps, func(s int64, _ map[string]*rpcpb.PartsWritten) bool { return s <= step })
}

// complete is the newest step of which every member has reported its parts, and all of them; -1: none.
func (g *gathering) complete(gen *logpb.Generation) (step int64, files []*rpcpb.FileInfo) {
	step = -1
	if g == nil || g.generation != gen.Number {
		return step, nil
	}
	for s, parts := range g.steps {
		if s > step && len(parts) == len(gen.Members) {
			step = s
		}
	}
	for _, m := range gen.Members {
		if step >= 0 {
			files = append(files, g.steps[step][m.WorkerId].Files...)
		}
	}
	return step, files
}

// onParts: a member has written its share. Members that did not do the same arithmetic show here, before anything is committed.
func (l *leadership) onParts(sess *session, m *rpcpb.PartsWritten) error {
	if c := l.committed(m.JobId, m.Step); c != nil && c.StateDigest == m.StateDigest && c.Final == (m.Final || c.Final) {
		l.tellCommitted(sess, m.JobId, c, nil) // the answer to the first report was lost
		return nil
	}
	j := l.member(m.JobId, m.Generation, sess.id)
	if j == nil {
		return nil
	}
	g := l.gather(j)
	for other, o := range g.steps[m.Step] {
		if o.StateDigest != m.StateDigest {
			return l.fail(j.Id, m.Generation, fmt.Sprintf("two states at step %d: worker %s has %s, worker %s has %s", m.Step, other, o.StateDigest, sess.id, m.StateDigest))
		}
	}
	g.add(sess.id, m)
	if m.Final {
		return l.finishing(j)
	}
	return nil
}

// committed is a good checkpoint of that step in the log, or nil.
func (l *leadership) committed(job string, step int64) *logpb.Checkpoint {
	for _, c := range l.c.fsm.View().Job(job).GetCheckpoints() {
		if c.Step == step && c.Refused == "" {
			return c
		}
	}
	return nil
}

// onManifest: everything is in the store; now the log decides.
func (l *leadership) onManifest(sess *session, m *rpcpb.ManifestWritten) error {
	j := l.member(m.JobId, m.Generation, sess.id)
	if j == nil || m.Checkpoint == nil || state.RankIn(state.Current(j), sess.id) != 0 {
		return nil
	}
	g, cp := l.gather(j), m.Checkpoint
	parts := g.steps[cp.Step]
	mine := parts[sess.id]
	if len(parts) != len(state.Current(j).Members) || mine.StateDigest != cp.StateDigest {
		sess.manifest = stepKey{} // parts are still to be heard of, perhaps again: then rank 0 is asked again
		return nil
	}
	r, refused, err := l.try(&logpb.Command{Command: &logpb.Command_CheckpointCommitted{CheckpointCommitted: &logpb.CheckpointCommitted{
		JobId: j.Id, Pause: mine.Pause,
		Checkpoint: &logpb.Checkpoint{Step: cp.Step, Directory: cp.Directory, StateDigest: cp.StateDigest, ManifestSha256: cp.ManifestSha256,
			Generation: m.Generation, Final: mine.Final},
	}}})
	if err != nil {
		return err
	}
	if refused != nil {
		g.forget(cp.Step)
		if errors.Is(refused, state.ErrConflict) {
			return l.fail(j.Id, m.Generation, refused.Error())
		}
		return l.note(j.Id, fmt.Sprintf("checkpoint at step %d is not committed: %v", cp.Step, refused))
	}
	g.forget(cp.Step)
	if c := l.committed(j.Id, cp.Step); c != nil {
		for _, member := range state.Current(j).Members {
			if s := l.sessions[member.WorkerId]; s != nil {
				l.tellCommitted(s, j.Id, c, r.Retire)
			}
		}
	}
	return nil
}

func (l *leadership) tellCommitted(s *session, job string, c *logpb.Checkpoint, retire []string) {
	s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Committed{Committed: &rpcpb.Committed{JobId: job, Step: c.Step, Final: c.Final, Retire: retire}}})
}

// finalTrouble begins what the history says of a final checkpoint that cannot be stored yet.
const finalTrouble = "final checkpoint"

// onCheckpointFailed: trouble with the store is reported and never stops training. Only a final checkpoint is waited for.
func (l *leadership) onCheckpointFailed(sess *session, m *rpcpb.CheckpointFailed) error {
	j := l.member(m.JobId, m.Generation, sess.id)
	if j == nil {
		return nil
	}
	if m.Final {
		if err := l.finishing(j); err != nil {
			return err
		}
		return l.note(j.Id, fmt.Sprintf("%s at step %d: worker %s tries again: %s", finalTrouble, m.Step, sess.id, m.Error))
	}
	delete(l.gather(j).steps, m.Step)
	for _, member := range state.Current(j).Members {
		if s := l.sessions[member.WorkerId]; s != nil {
			s.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_CheckpointAbandoned{CheckpointAbandoned: &rpcpb.CheckpointAbandoned{
				JobId: j.Id, Generation: m.Generation, Step: m.Step, Error: m.Error}}})
		}
	}
	return l.note(j.Id, fmt.Sprintf("checkpoint at step %d skipped: worker %s: %s", m.Step, sess.id, m.Error))
}

// onEvaluated: the score decides with which checkpoints stay.
func (l *leadership) onEvaluated(m *rpcpb.Evaluated) error {
	text := fmt.Sprintf("evaluation at step %d: %s", m.Step, m.Text)
	if m.Score == nil {
		return l.note(m.JobId, text)
	}
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_JobEvaluated{JobEvaluated: &logpb.JobEvaluated{JobId: m.JobId, Step: m.Step, Text: text, Score: *m.Score}}})
	return err
}

// onCheckpointUnusable: the next generation resumes from an older one. If the job was told to begin there, there is none.
func (l *leadership) onCheckpointUnusable(sess *session, m *rpcpb.CheckpointUnusable) error {
	j := l.member(m.JobId, m.Generation, sess.id)
	if j == nil || state.Current(j).ResumeUrl != m.ResumeUrl {
		return nil
	}
	dir := path.Base(strings.TrimRight(m.ResumeUrl, "/"))
	ours := slices.ContainsFunc(j.Checkpoints, func(c *logpb.Checkpoint) bool { return state.CheckpointURL(j, c) == m.ResumeUrl })
	if !ours {
		return l.fail(j.Id, m.Generation, fmt.Sprintf("worker %s cannot load %s: %s", sess.id, m.ResumeUrl, m.Error))
	}
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_CheckpointRefused{CheckpointRefused: &logpb.CheckpointRefused{
		JobId: j.Id, Generation: m.Generation, Directory: dir, Error: fmt.Sprintf("worker %s: %s", sess.id, m.Error)}}})
	return err
}
