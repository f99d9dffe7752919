package dataset

import (
	"cmp"
	"slices"
	"sync"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// turn is a user's part in an epoch: the window that ends with action end.
type turn struct{ user, end int32 }

// order says when a shard's users have their turns. An epoch's are drawn by a permutation, but among those of a block of steps, each step takes users
// with long windows and with short ones, so that steps, and with them shards, have about as many tokens: a step takes as long as its slowest shard.
type order struct {
	mu    sync.Mutex
	epoch int64
	perm  []int32 // places among the shard's users
	from  int     // the first step of the block, -1 for none
	turns []turn  // of the block, step by step
	sizes []sized
	ends  []int32
	loads []load
}

// sized is a turn with the number of its tokens.
type sized struct {
	turn
	tokens int
}

// load is how many tokens a step of the block has.
type load struct{ step, tokens int }

// blockUsers is about how many users are dealt at a time: their windows are drawn at once, and 1,024 of them take milliseconds.
const blockUsers = 1024

// turns shows the turns of the step. They stay as long as show runs, and others who want the shard's wait for it.
func (s *Sampler) turns(step ringleader.Step, shard ringleader.Shard, show func([]turn)) {
	epoch, k, per := int64(step)/s.perEpoch, int(int64(step)%s.perEpoch), s.w.UsersPerShard
	mine, o := s.shards[shard], &s.orders[shard]
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.epoch != epoch {
		o.perm = permute(o.perm, counter.Key(s.w.Seed, counter.Order, uint64(epoch), uint64(shard)), len(mine))
		o.epoch, o.from = epoch, -1
	}
	from, until := k, k+1
	if full := len(mine) / per; k < full { // the step after those that have all their users is short, and alone
		span := max(1, blockUsers/per)
		from = k / span * span
		until = min(from+span, full)
	}
	if o.from != from {
		o.draw(s, mine, o.perm[min(from*per, len(mine)):min(until*per, len(mine))])
		o.deal(per)
		o.from = from
	}
	at := min((k-from)*per, len(o.turns))
	show(o.turns[at:min(at+per, len(o.turns))])
}

// draw draws the windows of users in places: each ends at one of the valid ends, uniformly. The draw counts from the oldest.
func (o *order) draw(s *Sampler, mine, places []int32) {
	o.sizes = o.sizes[:0]
	for _, i := range places {
		u := mine[i]
		q := s.d.sequence(int(u))
		n := until(q.TimeMS, s.d.meta.CutMS)
		o.ends = validEnds(o.ends[:0], q.TimeMS[:n], q.Action[:n], s.d.meta.Positive, s.horizon)
		back := counter.Below(counter.Key(s.w.Seed, counter.Window, uint64(o.epoch), s.d.hash[u]), 0, len(o.ends))
		end := o.ends[len(o.ends)-1-back] // ends are newest first
		o.sizes = append(o.sizes, sized{turn{u, end}, min(int(end)+1, s.w.Model.Window)})
	}
}

// deal deals the turns that were drawn, per to a step: the longest to the steps that have the fewest tokens so far, a turn each, and so on. Where two
// are alike, the one that was drawn first comes first.
func (o *order) deal(per int) {
	n := len(o.sizes)
	o.turns = slices.Grow(o.turns[:0], n)[:n]
	slices.SortStableFunc(o.sizes, func(a, b sized) int { return cmp.Compare(b.tokens, a.tokens) })
	o.loads = o.loads[:0]
	for step := range max(1, n/per) {
		o.loads = append(o.loads, load{step: step})
	}
	for i, t := range o.sizes {
		if i%len(o.loads) == 0 {
			slices.SortFunc(o.loads, func(a, b load) int { return cmp.Or(cmp.Compare(a.tokens, b.tokens), cmp.Compare(a.step, b.step)) })
		}
		l := &o.loads[i%len(o.loads)]
		l.tokens += t.tokens
		o.turns[l.step*per+i/len(o.loads)] = t.turn
	}
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
