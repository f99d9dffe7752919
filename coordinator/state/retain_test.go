package state

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

func scored(job string, step int64, score float64) *logpb.Command {
	return &logpb.Command{TimeMs: 9, Command: &logpb.Command_JobEvaluated{JobEvaluated: &logpb.JobEvaluated{JobId: job, Step: step, Text: "scored", Score: score}}}
}

func refused(job string, step int64) *logpb.Command {
	return &logpb.Command{Command: &logpb.Command_CheckpointRefused{CheckpointRefused: &logpb.CheckpointRefused{
		JobId: job, Generation: 1, Directory: fmt.Sprintf("step-%08d-d", step), Error: "sha256 differs"}}}
}

// retaining is a running job with a policy.
func retaining(t *testing.T, keep int32, every int64, best int32) *machine {
	d := demand()
	d.KeepCheckpoints, d.KeepEvery, d.KeepBest = keep, every, best
	return newMachine(t, registered("w1"), submitted("a", "", d), created("a", 1, 0, "w1"))
}

func stepsOf(m *machine) (steps []int64) {
	for _, c := range m.View().Job("a").Checkpoints {
		steps = append(steps, c.Step)
	}
	return steps
}

func TestRetention(t *testing.T) {
	for name, c := range map[string]struct {
		keep   int32
		every  int64
		best   int32
		scores map[int64]float64
		want   []int64
	}{
		"newest":                 {2, 0, 0, nil, []int64{70, 80}},
		"all":                    {0, 0, 0, nil, []int64{10, 20, 30, 40, 50, 60, 70, 80}},
		"every third":            {1, 30, 0, nil, []int64{30, 60, 80}},
		"best":                   {1, 0, 2, map[int64]float64{10: .1, 20: .7, 30: .2, 50: .9, 70: .3}, []int64{20, 50, 80}},
		"of equal ones the last": {1, 0, 1, map[int64]float64{10: .5, 40: .5, 60: .5}, []int64{60, 80}},
		"best is among newest":   {2, 0, 1, map[int64]float64{10: .1, 70: .2}, []int64{70, 80}},
		"everything":             {1, 40, 1, map[int64]float64{10: .1, 20: -.5}, []int64{10, 40, 80}},
	} {
		for _, early := range []bool{true, false} { // the score comes before or after the checkpoint is committed
			m := retaining(t, c.keep, c.every, c.best)
			for step := int64(10); step <= 80; step += 10 {
				score, ok := c.scores[step]
				if ok && early {
					m.ok(scored("a", step, score))
				}
				m.ok(committed("a", 1, step, "d", false, false))
				if ok && !early {
					m.ok(scored("a", step, score))
				}
			}
			if have := stepsOf(m); !slices.Equal(have, c.want) {
				t.Errorf("%s, early %t: kept %v, want %v", name, early, have, c.want)
			}
			if n := len(m.View().Job("a").Scores); n > 0 {
				t.Errorf("%s, early %t: %d scores are left over", name, early, n)
			}
		}
	}
}

// A checkpoint that does not load counts for nothing, whatever its step and score.
func TestRefusedOnesDoNotCount(t *testing.T) {
	m := retaining(t, 1, 20, 1)
	for step := int64(10); step <= 40; step += 10 {
		m.ok(scored("a", step, -float64(step)))
		m.ok(committed("a", 1, step, "d", false, false))
		if step > 10 {
			m.ok(refused("a", step))
		}
	}
	if have := stepsOf(m); have[0] != 10 || NewestCheckpoint(m.View().Job("a")).Step != 10 {
		t.Fatalf("kept %v: the only good one is at step 10", have)
	}
	m.ok(committed("a", 1, 50, "d", false, false))
	if have := stepsOf(m); !slices.Equal(have, []int64{10, 50}) { // the newest, and the best of those that load
		t.Errorf("kept %v, want 10 and 50", have)
	}
}

// Whatever is committed, refused and scored in whatever order: as long as one checkpoint that loads was committed, one is kept.
func TestTheLastGoodOneStays(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := retaining(t, 1+int32(r.IntN(2)), int64(r.IntN(3)*20), int32(r.IntN(3)))
		good := map[int64]bool{} // committed and not refused since
		for range 30 {
			step := int64(1+r.IntN(9)) * 10
			var cmd *logpb.Command
			switch r.IntN(4) {
			case 0:
				cmd = scored("a", step, r.Float64())
			case 1:
				cmd = refused("a", step)
			default:
				cmd = committed("a", 1, step, "d", false, false)
			}
			if _, err := m.do(cmd); err == nil {
				switch {
				case cmd.GetCheckpointCommitted() != nil:
					good[step] = true
				case cmd.GetCheckpointRefused() != nil:
					delete(good, step)
				}
			}
			// Steps that retention gave up are not there any more to be refused: only those that are kept can be.
			kept := map[int64]bool{}
			for _, c := range m.View().Job("a").Checkpoints {
				kept[c.Step] = c.Refused == ""
			}
			newest := int64(-1)
			for s := range good {
				newest = max(newest, s)
			}
			if len(good) > 0 && !kept[newest] {
				t.Fatalf("seed %d: the newest good checkpoint, at step %d, is not kept: %v", seed, newest, kept)
			}
			for s := range good {
				if !kept[s] {
					delete(good, s)
				}
			}
		}
	}
}

func TestScores(t *testing.T) {
	m := retaining(t, 1, 0, 1)
	m.refused(scored("a", 10, math.NaN()), ErrInvalid)
	m.refused(scored("a", -10, 1), ErrInvalid)
	m.refused(scored("z", 10, 1), ErrNotFound)
	for step := range int64(MaxScores + 10) {
		m.ok(scored("a", step, 1))
		m.ok(scored("a", step, 2)) // evaluated again: the last word counts
	}
	if s := m.View().Job("a").Scores; len(s) != MaxScores || s[0].Step != 10 || s[0].Score != 2 {
		t.Errorf("%d scores, first %v; want the newest %d", len(s), s[0], MaxScores)
	}
}
