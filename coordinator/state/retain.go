package state

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// retain gives up the checkpoints that nothing keeps (see kept). What this commit and the one before it gave up is told again, in case
// that the one who deletes has not heard.
func retain(j *logpb.Job, committed *logpb.Checkpoint) {
	last := int64(-1)
	if n := len(j.Retired); n > 0 {
		last = j.Retired[n-1].ByStep
	}
	j.Retired = slices.DeleteFunc(j.Retired, func(r *logpb.Retired) bool {
		return r.ByStep != last || r.Directory == committed.Directory
	})
	keep := kept(j)
	keep[committed.Step] = true // a commit below older ones (redone after going back) may be its own victim; it stays for one more round
	stay := j.Checkpoints[:0:0]
	for _, c := range j.Checkpoints {
		if keep[c.Step] {
			stay = append(stay, c)
		} else {
			j.Retired = append(j.Retired, &logpb.Retired{Directory: c.Directory, ByStep: committed.Step})
		}
	}
	j.Checkpoints = newest(stay, MaxCheckpoints)
}

// kept are the steps whose checkpoints stay: the newest keep_checkpoints good ones and what lies between them, those at multiples of
// keep_every, and the keep_best with the highest scores. So the newest good one always stays, as long as keep_checkpoints allows one.
func kept(j *logpb.Job) map[int64]bool {
	d, keep := j.Demand, map[int64]bool{}
	good := 0
	var scored []*logpb.Checkpoint
	for _, c := range slices.Backward(j.Checkpoints) {
		keep[c.Step] = d.KeepCheckpoints <= 0 || good < int(d.KeepCheckpoints)
		if c.Refused != "" {
			continue
		}
		good++
		keep[c.Step] = keep[c.Step] || d.KeepEvery > 0 && c.Step%d.KeepEvery == 0
		if c.Score != nil {
			scored = append(scored, c)
		}
	}
	// Of equal ones the newer, which come first.
	slices.SortStableFunc(scored, func(a, b *logpb.Checkpoint) int { return cmp.Compare(b.GetScore(), a.GetScore()) })
	for _, c := range scored[:min(len(scored), int(max(0, d.KeepBest)))] {
		keep[c.Step] = true
	}
	return keep
}

// evaluated notes a score: with the checkpoint of the step, or until there is one.
func evaluated(j *logpb.Job, ms int64, e *logpb.JobEvaluated) error {
	if math.IsNaN(e.Score) || e.Step < 0 {
		return fmt.Errorf("evaluate step %d: %w: the score is %g", e.Step, ErrInvalid, e.Score)
	}
	note(j, ms, e.Text)
	if at, found := checkpointAt(j, e.Step); found {
		j.Checkpoints[at].Score = &e.Score
		return nil
	}
	takeScore(j, e.Step)
	at, _ := scoreAt(j, e.Step)
	j.Scores = newest(slices.Insert(j.Scores, at, &logpb.Score{Step: e.Step, Score: e.Score}), MaxScores)
	return nil
}

// takeScore takes the score of a step that gets its checkpoint; nil if there is none.
func takeScore(j *logpb.Job, step int64) *float64 {
	at, found := scoreAt(j, step)
	if !found {
		return nil
	}
	score := j.Scores[at].Score
	j.Scores = slices.Delete(j.Scores, at, at+1)
	return &score
}

func scoreAt(j *logpb.Job, step int64) (int, bool) {
	return slices.BinarySearchFunc(j.Scores, step, func(s *logpb.Score, step int64) int { return cmp.Compare(s.Step, step) })
}
