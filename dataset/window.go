package dataset

import (
	"fmt"
	"slices"
	"sort"
)

// until is the number of actions with time at most ms.
func until(times []int64, ms int64) int {
	return sort.Search(len(times), func(i int) bool { return times[i] > ms })
}

// validEnds appends the indices of the actions at which a training window may end, newest first: the last of a group of equal times, with
// a positive later than it and at most horizon later. times and actions end at the cut.
//
// It walks the groups of equal times backwards and needs only the time of the nearest later positive.
func validEnds(ends []int32, times []int64, actions []int32, positive []bool, horizon int64) []int32 {
	const never = int64(1) << 62
	next := never
	for end := len(times) - 1; end >= 0; {
		if next != never && next-times[end] <= horizon {
			ends = append(ends, int32(end))
		}
		i := end
		for ; i >= 0 && times[i] == times[end]; i-- {
			if positive[actions[i]] {
				next = times[end]
			}
		}
		end = i
	}
	return ends
}

// reset empties a batch; its buffers stay.
func (b *Batch) reset() {
	b.User, b.Offset = b.User[:0], append(b.Offset[:0], 0)
	b.Item, b.TimeMS, b.Action, b.Surface, b.Duration = b.Item[:0], b.TimeMS[:0], b.Action[:0], b.Surface[:0], b.Duration[:0]
	b.PosOffset, b.PosItem, b.PosTimeMS = append(b.PosOffset[:0], 0), b.PosItem[:0], b.PosTimeMS[:0]
	b.OwnOffset, b.OwnItem = append(b.OwnOffset[:0], 0), b.OwnItem[:0]
	b.Negative = b.Negative[:0]
}

// tokens appends actions [from, to) as the next user's window.
func (b *Batch) tokens(s *Sequence, from, to int) {
	b.Item = append(b.Item, s.Item[from:to]...)
	b.TimeMS = append(b.TimeMS, s.TimeMS[from:to]...)
	b.Action = append(b.Action, s.Action[from:to]...)
	if s.Surface != nil {
		b.Surface = append(b.Surface, s.Surface[from:to]...)
	}
	if s.Duration != nil {
		b.Duration = append(b.Duration, s.Duration[from:to]...)
	}
	b.Offset = append(b.Offset, int32(len(b.Item)))
}

// positives appends the positives among actions [from, to) and closes the user's run.
func (b *Batch) positives(s *Sequence, from, to int, positive []bool) {
	for i := from; i < to; i++ {
		if positive[s.Action[i]] {
			b.PosItem = append(b.PosItem, s.Item[i])
			b.PosTimeMS = append(b.PosTimeMS, s.TimeMS[i])
		}
	}
	b.PosOffset = append(b.PosOffset, int32(len(b.PosItem)))
}

// own appends the distinct items of the positives among the first n actions, ascending.
func (b *Batch) own(s *Sequence, n int, positive []bool) {
	start := len(b.OwnItem)
	for i := range n {
		if positive[s.Action[i]] {
			b.OwnItem = append(b.OwnItem, s.Item[i])
		}
	}
	mine := b.OwnItem[start:]
	slices.Sort(mine)
	b.OwnItem = b.OwnItem[:start+len(slices.Compact(mine))]
	b.OwnOffset = append(b.OwnOffset, int32(len(b.OwnItem)))
}

// Windows packs evaluation windows: for each users[k] the last window actions with time at most endMS[k]. A user without any has no
// tokens. There are no positives and no pool. Step and Shard are zero. Like Sampler.Batch it reuses b's buffers, and may run in several goroutines with distinct ones.
func (d *Dataset) Windows(b *Batch, window int, users []int32, endMS []int64) error {
	if window < 1 {
		return fmt.Errorf("pack windows: window %d: want at least 1", window)
	}
	if len(users) != len(endMS) {
		return fmt.Errorf("pack windows: %d users, %d ends", len(users), len(endMS))
	}
	b.reset()
	b.Step, b.Shard = 0, 0
	for k, u := range users {
		if u < 0 || int(u) >= d.meta.Users {
			return fmt.Errorf("pack windows: user %d: want 0 to %d", u, d.meta.Users-1)
		}
		s := d.sequence(int(u))
		n := until(s.TimeMS, endMS[k])
		b.User = append(b.User, u)
		b.tokens(&s, max(0, n-window), n)
		b.PosOffset = append(b.PosOffset, 0)
		b.OwnOffset = append(b.OwnOffset, 0)
	}
	return nil
}
