package dataset

import (
	"fmt"
	"slices"
	"strings"
	"sync"

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

// order is the last permutation that a shard's users were asked for.
type order struct {
	mu    sync.Mutex
	epoch int64
	perm  []int32
}

// NewSampler finds the users that the job trains, in one pass over the data: not held out, with at least one valid end of a window.
// They are ordered by (xxhash64 of the id, id) and dealt round-robin to the shards, whose sizes so differ by at most one.
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
	slices.SortFunc(eligible, s.compare)
	s.shards, s.orders = make([][]int32, w.Shards), make([]order, w.Shards)
	for i, u := range eligible {
		s.shards[i%w.Shards] = append(s.shards[i%w.Shards], u)
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

// eligible returns the users that train and, on the way, adds up what an in-batch draw yields.
func (s *Sampler) eligible() []int32 {
	var users []int32
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
		users = append(users, int32(u))
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

// Users appends the users that the shard contributes to the step.
func (s *Sampler) Users(to []int32, step ringleader.Step, shard ringleader.Shard) []int32 {
	epoch, k := int64(step)/s.perEpoch, int(int64(step)%s.perEpoch)
	mine, o := s.shards[shard], &s.orders[shard]
	from := min(k*s.w.UsersPerShard, len(mine))
	until := min(from+s.w.UsersPerShard, len(mine))
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.epoch != epoch {
		o.perm = permute(o.perm, counter.Key(s.w.Seed, counter.Order, uint64(epoch), uint64(shard)), len(mine))
		o.epoch = epoch
	}
	for _, i := range o.perm[from:until] {
		to = append(to, mine[i])
	}
	return to
}

// permute is counter.Perm into memory that is there already.
func permute(p []int32, key uint64, n int) []int32 {
	p = slices.Grow(p[:0], n)[:n]
	for i := range p {
		j := counter.Below(key, uint64(i), i+1)
		p[i] = p[j]
		p[j] = int32(i)
	}
	return p
}

// Batch fills b with what the shard contributes to the step: 0 is the first. It may run in several goroutines with distinct
// batches, and does not allocate once b's buffers have grown.
func (s *Sampler) Batch(b *Batch, step ringleader.Step, shard ringleader.Shard) {
	b.reset()
	b.Step, b.Shard = step, shard
	b.User = s.Users(b.User, step, shard)
	epoch := uint64(int64(step) / s.perEpoch)
	for k := range b.User {
		s.window(b, b.User[k], epoch)
	}
	s.pool(b)
}

// window draws the end of a user's window uniformly from the valid ones, and packs the window, its positives and the user's mask.
func (s *Sampler) window(b *Batch, user int32, epoch uint64) {
	q := s.d.sequence(int(user))
	positive := s.d.meta.Positive
	n := until(q.TimeMS, s.d.meta.CutMS)
	b.ends = validEnds(b.ends[:0], q.TimeMS[:n], q.Action[:n], positive, s.horizon)
	draw := counter.Below(counter.Key(s.w.Seed, counter.Window, epoch, s.d.hash[user]), 0, len(b.ends))
	end := int(b.ends[len(b.ends)-1-draw]) // ends are newest first: the draw counts from the oldest
	first := max(0, end+1-s.w.Model.Window)
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
