package dataset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/internal/counter"
	"github.com/ringleader-dev/ringleader/job"
)

// Sampler says which users a shard contributes to a step, and packs their windows. Everything that it draws is a function of the
// job and the data: of (seed, purpose, step or epoch, shard or user), never of who asks, when, or in which order.
type Sampler struct {
	d         *Dataset
	w         job.What
	horizon   int64 // K, milliseconds
	inBatch   int
	random    int
	perEpoch  int64 // steps
	shards    [][]int32
	frequency frequency
	orders    []order // by shard
}

// NewSampler finds the users that the job trains, in one pass over the data: not held out, with at least one valid end of a window.
// They are ordered by (tokens that their windows have on average, xxhash64 of the id, id) and dealt round-robin to the shards, whose sizes so differ by at most one, and
// whose users have as many tokens.
func NewSampler(d *Dataset, w job.What) (*Sampler, error) {
	if err := checkWhat(&w); err != nil {
		return nil, fmt.Errorf("sample %s: %w", d.meta.Name, err)
	}
	if err := d.meta.Suits(&w); err != nil {
		return nil, fmt.Errorf("sample %s: %w", d.meta.Name, err)
	}
	s := &Sampler{d: d, w: w, horizon: days(w.Loss.HorizonDays), inBatch: w.Negatives.InBatch, random: w.Negatives.Random}
	eligible := s.eligible()
	if len(eligible) == 0 {
		return nil, fmt.Errorf("sample %s: no user can train: %d users, hold-out %g, none of the others has an action that a positive follows within %g days and before the cut",
			d.meta.Name, d.meta.Users, d.meta.Holdout, w.Loss.HorizonDays)
	}
	s.frequency.divide(len(eligible))
	slices.SortFunc(eligible, func(a, b trainee) int { return cmp.Or(cmp.Compare(a.tokens, b.tokens), s.compare(a.user, b.user)) })
	s.shards, s.orders = make([][]int32, w.Shards), make([]order, w.Shards)
	for i, u := range eligible {
		s.shards[i%w.Shards] = append(s.shards[i%w.Shards], u.user)
	}
	for i := range s.orders {
		s.orders[i].epoch = -1
	}
	s.perEpoch = int64((len(s.shards[0]) + w.UsersPerShard - 1) / w.UsersPerShard)
	return s, nil
}

func checkWhat(w *job.What) error {
	switch {
	case w.Shards < 1:
		return fmt.Errorf("what.shards %d: want at least 1", w.Shards)
	case w.UsersPerShard < 1:
		return fmt.Errorf("what.users_per_shard %d: want at least 1", w.UsersPerShard)
	case w.Model.Window < 1:
		return fmt.Errorf("what.model.window %d: want at least 1", w.Model.Window)
	case !(w.Loss.HorizonDays > 0 && w.Loss.HorizonDays <= 36600):
		return fmt.Errorf("what.loss.horizon_days %g: want more than 0, at most 36600", w.Loss.HorizonDays)
	case w.Negatives.InBatch < 0 || w.Negatives.Random < 0:
		return fmt.Errorf("what.negatives %d in_batch, %d random: want none negative", w.Negatives.InBatch, w.Negatives.Random)
	}
	return nil
}

// trainee is a user that trains, with the tokens that its windows have on average, times 256.
type trainee struct {
	user   int32
	tokens int64
}

// eligible returns the users that train and, on the way, adds up what an in-batch draw yields.
func (s *Sampler) eligible() []trainee {
	var users []trainee
	var ends []int32
	s.frequency.sum = make([]float64, s.d.meta.Items)
	for u := range s.d.meta.Users {
		if s.d.Heldout(u) {
			continue
		}
		q := s.d.sequence(u)
		n := until(q.TimeMS, s.d.meta.CutMS)
		ends = validEnds(ends[:0], q.TimeMS[:n], q.Action[:n], s.d.meta.Positive, s.horizon)
		if len(ends) == 0 {
			continue
		}
		var tokens int64
		for _, end := range ends {
			tokens += int64(min(int(end)+1, s.w.Model.Window))
		}
		users = append(users, trainee{int32(u), 256 * tokens / int64(len(ends))})
		s.frequency.add(&q, n, ends, s.w.Model.Window, s.horizon, s.d.meta.Positive)
	}
	return users
}

func (s *Sampler) compare(a, b int32) int {
	if x, y := s.d.hash[a], s.d.hash[b]; x != y {
		if x < y {
			return -1
		}
		return 1
	}
	return strings.Compare(string(s.d.idBytes(a)), string(s.d.idBytes(b)))
}

func (d *Dataset) idBytes(u int32) []byte { return d.id[d.idOffset[u]:d.idOffset[u+1]] }

// StepsPerEpoch is the number of steps of one pass over the users; the last one is short, and may be empty for some shards.
func (s *Sampler) StepsPerEpoch() int64 { return s.perEpoch }

// Steps is the length of the job: its own steps, or its epochs in steps.
func (s *Sampler) Steps() ringleader.Step {
	if s.w.Epochs > 0 {
		return ringleader.Step(s.w.Epochs * s.perEpoch)
	}
	return ringleader.Step(s.w.Steps)
}

// Shards is the number of shards.
func (s *Sampler) Shards() int { return len(s.shards) }

// Eligible are the users of a shard, in the order in which they were dealt. Read only.
func (s *Sampler) Eligible(shard ringleader.Shard) []int32 { return s.shards[shard] }

// Batch fills b with what the shard contributes to the step: 0 is the first. It may run in several goroutines with distinct
// batches, and does not allocate once b's buffers have grown.
func (s *Sampler) Batch(b *Batch, step ringleader.Step, shard ringleader.Shard) {
	b.reset()
	b.Step, b.Shard = step, shard
	s.turns(step, shard, func(turns []turn) { b.turns = append(b.turns[:0], turns...) })
	for _, t := range b.turns {
		s.window(b, t)
	}
	s.pool(b)
}

// window packs a user's window, its positives and the user's mask.
func (s *Sampler) window(b *Batch, t turn) {
	q := s.d.sequence(int(t.user))
	positive := s.d.meta.Positive
	n, end := until(q.TimeMS, s.d.meta.CutMS), int(t.end)
	first := max(0, end+1-s.w.Model.Window)
	b.User = append(b.User, t.user)
	b.tokens(&q, first, end+1)
	b.positives(&q, until(q.TimeMS[:n], q.TimeMS[first]), until(q.TimeMS[:n], q.TimeMS[end]+s.horizon), positive)
	b.own(&q, n, positive)
}

// pool draws the negatives: from the batch's positives, a user first and then one of its own, then from the catalogue. No objective changes what is
// drawn, and so neither Q: in-batch draws are of all positives that the window's tokens can reach, not of those that an objective samples.
func (s *Sampler) pool(b *Batch) {
	if len(b.User) == 0 {
		return
	}
	step, shard := uint64(b.Step), uint64(b.Shard)
	key := counter.Key(s.w.Seed, counter.InBatch, step, shard)
	for i := range s.inBatch {
		u := counter.Below(key, uint64(2*i), len(b.User))
		from, to := b.PosOffset[u], b.PosOffset[u+1]
		b.Negative = append(b.Negative, b.PosItem[int(from)+counter.Below(key, uint64(2*i+1), int(to-from))])
	}
	key = counter.Key(s.w.Seed, counter.Random, step, shard)
	for i := range s.random {
		b.Negative = append(b.Negative, int32(counter.Below(key, uint64(i), s.d.meta.Items)))
	}
}
