package model

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/job"
)

func openSynthetic(t *testing.T, o synth.Options) *dataset.Dataset {
	t.Helper()
	dir := t.TempDir()
	if _, err := synth.Write(filepath.Join(dir, "data"), o); err != nil {
		t.Fatal(err)
	}
	src, err := file.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d, err := dataset.Open(context.Background(), src, filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// census counts what the cases of a test have in them.
type census struct{ shards, alone, windows, truncated, ties, repeats, untargeted int }

// TestExactLossIsTheDefinition: from histories on disk to the loss of a shard, in hundreds of random shards, against the definition read from the histories
// themselves: every token of the window, every positive of its next K days up to the cut, one softmax each over the draws that are not the user's.
func TestExactLossIsTheDefinition(t *testing.T) {
	d := openSynthetic(t, synth.Options{Users: 60, Items: 20, Dim: 5, Actions: 14, Ties: .4, Holdout: -1, Seed: 9})
	var seen census
	for i, usersPerShard := range []int{1, 2, 3, 5} {
		w := tinyWhat()
		w.Shards, w.UsersPerShard, w.Seed = 4, usersPerShard, uint64(i)
		w.Loss.Weights = []string{weightsSeed, weightsPairs}[i%2]
		w.Loss.LogQ = []string{logQOn, logQCorrected, logQOff, logQOn}[i]
		sampler, err := dataset.NewSampler(d, w)
		if err != nil {
			t.Fatal(err)
		}
		s := newSetup(t, w, d.Meta())
		copy(s.logQ, sampler.LogQ())
		var b dataset.Batch
		for step := range ringleader.Step(25) {
			for shard := range ringleader.Shard(w.Shards) {
				sampler.Batch(&b, step, shard)
				_, res := s.gradient(t, &b)
				want := fromHistories(t, s, d, &b, &seen)
				if math.Abs(res.Loss-want) > 2e-6*(1+want) || res.Users != len(b.User) {
					t.Fatalf("%d users a shard, step %d, shard %d: loss %v of %d users, want %v of %d", usersPerShard, step, shard, res.Loss, res.Users, want, len(b.User))
				}
			}
		}
	}
	if seen.shards < 300 || min(seen.alone, seen.truncated, seen.ties, seen.repeats, seen.untargeted) < 50 {
		t.Errorf("too little was seen: %+v", seen)
	}
}

// fromHistories is the loss of a shard by definition. Of the batch it believes the users, the ends of their windows and the draws.
func fromHistories(t *testing.T, s *setup, d *dataset.Dataset, b *dataset.Batch, seen *census) (loss float64) {
	t.Helper()
	r, meta, w := s.reference(), d.Meta(), &s.m.what
	tau := math.Exp(r.p["log_temperature"][0])
	corrected := func(e []float64, item int32, correct bool) float64 {
		score := dot(e, r.item(item)) / tau
		if correct {
			score -= float64(r.logQ[item])
		}
		return score
	}
	seen.shards++
	if len(b.User) == 1 {
		seen.alone++
	}
	for k, u := range b.User {
		q := d.User(int(u))
		end := b.TimeMS[b.Offset[k+1]-1]
		n := len(q.TimeMS)
		for n > 0 && q.TimeMS[n-1] > end {
			n--
		}
		first := max(0, n-w.Model.Window)
		seen.windows++
		if first > 0 {
			seen.truncated++
		}
		if !slices.Equal(q.TimeMS[first:n], b.TimeMS[b.Offset[k]:b.Offset[k+1]]) || !slices.Equal(q.Item[first:n], b.Item[b.Offset[k]:b.Offset[k+1]]) {
			t.Fatalf("user %d: the window is not the newest %d actions up to %d", u, w.Model.Window, end)
		}
		own := map[int32]int{}
		for j, p := range q.Item {
			if meta.Positive[q.Action[j]] && q.TimeMS[j] <= meta.CutMS {
				own[p]++
			}
		}
		var tokens [][]float64 // losses of pairs, by token
		for m, e := range r.user(b, k) {
			now := q.TimeMS[first+m]
			if first+m > 0 && q.TimeMS[first+m-1] == now {
				seen.ties++
			}
			var pairs []float64
			for j, p := range q.Item {
				if at := q.TimeMS[j]; !meta.Positive[q.Action[j]] || at <= now || float64(at-now) > w.Loss.HorizonDays*24*hourMS || at > meta.CutMS {
					continue
				}
				a := corrected(e, p, w.Loss.LogQ == logQOn)
				sum := math.Exp(a)
				for _, neg := range b.Negative {
					if own[neg] == 0 {
						sum += math.Exp(corrected(e, neg, w.Loss.LogQ != logQOff))
					}
				}
				pairs = append(pairs, math.Log(sum)-a)
				if own[p] > 1 {
					seen.repeats++
				}
			}
			if len(pairs) == 0 {
				seen.untargeted++
				continue
			}
			tokens = append(tokens, pairs)
		}
		loss += meanOf(tokens, w.Loss.Weights)
	}
	return loss
}

// meanOf is the mean over pairs, or over tokens of the mean over their pairs.
func meanOf(tokens [][]float64, weights string) float64 {
	sum, n := 0.0, 0.0
	for _, pairs := range tokens {
		for _, x := range pairs {
			if weights == weightsSeed {
				sum, n = sum+x/float64(len(pairs)), n+1/float64(len(pairs))
			} else {
				sum, n = sum+x, n+1
			}
		}
	}
	return sum / n
}

// nextOnly is a shard in which every token's horizon has exactly one positive, the next: actions are 20 days apart, each a positive.
func nextOnly(m *Model, lengths ...int) *dataset.Batch {
	rng := random(21)
	b := randomBatch(rng, m, lengths...)
	b.PosOffset, b.PosItem, b.PosTimeMS = []int32{0}, nil, nil
	b.OwnOffset, b.OwnItem = []int32{0}, nil
	for u := range b.User {
		var own []int32
		for i := b.Offset[u]; i < b.Offset[u+1]; i++ {
			b.TimeMS[i] = 1_700_000_000_000 + int64(i)*20*24*hourMS
			p := int32(rng.IntN(m.sizes.items))
			b.PosItem, b.PosTimeMS, own = append(b.PosItem, p), append(b.PosTimeMS, b.TimeMS[i]+20*24*hourMS), append(own, p)
		}
		b.PosOffset = append(b.PosOffset, int32(len(b.PosItem)))
		slices.Sort(own)
		b.OwnItem = append(b.OwnItem, slices.Compact(own)...)
		b.OwnOffset = append(b.OwnOffset, int32(len(b.OwnItem)))
	}
	return b
}

// TestExactIsSASRecIfThereIsOnlyTheNext: where every horizon has the next positive and no other, both objectives are the same, bit for bit.
func TestExactIsSASRecIfThereIsOnlyTheNext(t *testing.T) {
	for _, newest := range []string{newestOne, newestEqual} {
		var grads [2][]float32
		var losses [2]Result
		for i, objective := range []string{objectiveExact, objectiveSASRec} {
			w := tinyWhat()
			w.Loss.Objective, w.Loss.NewestWeight = objective, newest
			s := newSetup(t, w, tinyMeta())
			b := nextOnly(s.m, 5, 1, 6)
			grads[i], losses[i] = s.gradient(t, b)
			g := &s.run.goal
			for k := range g.lo {
				if g.hi[k] != g.lo[k]+1 {
					t.Errorf("token %d has %d targets, want 1", k, g.hi[k]-g.lo[k])
				}
			}
		}
		mustEqual(t, "gradient", grads[1], grads[0])
		if losses[0] != losses[1] || losses[0].Loss == 0 {
			t.Errorf("newest_weight %s: %+v exact, %+v sasrec", newest, losses[0], losses[1])
		}
	}
}

// TestExactIsTheSampledLossOnAverage: over many steps the loss and the gradient of dense_all_action come close to the exact ones.
func TestExactIsTheSampledLossOnAverage(t *testing.T) {
	w := tinyWhat()
	s := newSetup(t, w, tinyMeta())
	b := randomBatch(random(4), s.m, 5, 1, 6)
	exact, want := s.gradient(t, b)

	w.Loss = job.Loss{Objective: objectiveDense, Weights: weightsSeed, NewestWeight: newestOne, Positions: 1, HorizonDays: w.Loss.HorizonDays, LogQ: w.Loss.LogQ}
	sampled := newSetup(t, w, tinyMeta())
	const steps = 1500
	var sum, squares float64
	mean, spread := make([]float64, len(exact)), make([]float64, len(exact))
	for step := range ringleader.Step(steps) {
		b.Step = step
		grad, res := sampled.gradient(t, b)
		sum, squares = sum+res.Loss/steps, squares+res.Loss*res.Loss/steps
		for i, g := range grad {
			mean[i] += float64(g) / steps
			spread[i] += float64(g) * float64(g) / steps
		}
	}
	if sd := math.Sqrt((squares - sum*sum) / steps); math.Abs(sum-want.Loss) > 5*sd || sd > .02*want.Loss {
		t.Errorf("loss %.5f on average, +- %.5f; exact %.5f", sum, sd, want.Loss)
	}
	for i := range mean {
		if sd := math.Sqrt(max(spread[i]-mean[i]*mean[i], 0) / steps); math.Abs(mean[i]-float64(exact[i])) > 6*sd+1e-6 {
			t.Errorf("gradient of element %d: %.6f on average, +- %.6f; exact %.6f", i, mean[i], sd, exact[i])
		}
	}
}
