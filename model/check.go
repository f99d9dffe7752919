package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// check refuses what would read or write outside of a buffer.
func (r *Runner) check(params device.F32, b *dataset.Batch) error {
	if params.N != r.m.length {
		return fmt.Errorf("parameters: %d elements, want %d", params.N, r.m.length)
	}
	if err := r.checkTokens(b); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	return nil
}

func (r *Runner) checkTokens(b *dataset.Batch) error {
	t, s, f := len(b.Item), &r.m.sizes, &r.m.features
	if len(b.TimeMS) != t || len(b.Action) != t || f.surface && len(b.Surface) != t || f.duration && len(b.Duration) != t {
		return fmt.Errorf("%d items, %d times, %d actions, %d surfaces, %d durations: want one for each token", t, len(b.TimeMS), len(b.Action), len(b.Surface), len(b.Duration))
	}
	if err := checkOffsets("offsets", b.Offset, len(b.User), t, s.window); err != nil {
		return err
	}
	if err := checkTimes("tokens", b.Offset, b.TimeMS); err != nil {
		return err
	}
	if err := checkBelow("item", b.Item, s.items); err != nil {
		return err
	}
	if err := checkBelow("action", b.Action, s.actions); err != nil {
		return err
	}
	if !f.surface {
		return nil
	}
	return checkBelow("surface", b.Surface, s.surfaces)
}

// checkGoal is check for what only the loss reads.
func (r *Runner) checkGoal(b *dataset.Batch) error {
	s := &r.m.sizes
	for _, c := range []struct {
		name  string
		items []int32
	}{{"positive", b.PosItem}, {"own positive", b.OwnItem}, {"negative", b.Negative}} {
		if err := checkBelow(c.name, c.items, s.items); err != nil {
			return fmt.Errorf("batch: %w", err)
		}
	}
	if len(b.PosTimeMS) != len(b.PosItem) {
		return fmt.Errorf("batch: %d positives, %d times of them", len(b.PosItem), len(b.PosTimeMS))
	}
	if err := checkOffsets("offsets of positives", b.PosOffset, len(b.User), len(b.PosItem), math.MaxInt32); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	if err := checkTimes("positives", b.PosOffset, b.PosTimeMS); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	if err := checkOffsets("offsets of own positives", b.OwnOffset, len(b.User), len(b.OwnItem), math.MaxInt32); err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	return nil
}

func checkBelow(name string, values []int32, below int) error {
	for i, v := range values {
		if v < 0 || int(v) >= below {
			return fmt.Errorf("%s %d is %d: want 0 to %d", name, i, v, below-1)
		}
	}
	return nil
}

func checkOffsets(name string, offsets []int32, users, end, most int) error {
	if users == 0 && end == 0 {
		return nil
	}
	if len(offsets) != users+1 || offsets[0] != 0 || int(offsets[users]) != end {
		return fmt.Errorf("%s of %d users: want %d, from 0 to %d", name, users, users+1, end)
	}
	for u := range users {
		if n := int(offsets[u+1]) - int(offsets[u]); n < 0 || n > most {
			return fmt.Errorf("%s: user %d has %d, want 0 to %d", name, u, n, most)
		}
	}
	return nil
}

// checkTimes wants each user's times in order: the bands of the loss and the encodings of times rest on it.
func checkTimes(name string, offsets []int32, times []int64) error {
	for u := 1; u < len(offsets); u++ {
		if mine := times[offsets[u-1]:offsets[u]]; !slices.IsSorted(mine) {
			return fmt.Errorf("times of the %s of user %d are not in order", name, u-1)
		}
	}
	return nil
}
