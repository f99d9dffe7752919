package importer

import (
	"context"
	"fmt"

	"github.com/ringleader-dev/ringleader/dataset"
)

// chunkActions is about how many actions are read in one query, whose result is held in memory.
const chunkActions = 1 << 21

// chunk is a run of users, first to last.
type chunk struct{ first, last int }

func (e *engine) chunks(ctx context.Context) (out []chunk, err error) {
	var user int
	var n, sum int64
	err = e.each(ctx, "SELECT idx, n FROM users ORDER BY idx", []any{&user, &n}, func() error {
		if len(out) == 0 || sum+n > chunkActions {
			out, sum = append(out, chunk{first: user}), 0
		}
		out[len(out)-1].last = user
		sum += n
		return nil
	})
	return out, err
}

// sequences hands all users to f, in order. The slices are reused.
func (e *engine) sequences(ctx context.Context, m *dataset.Meta, f func(dataset.Sequence) error) error {
	chunks, err := e.chunks(ctx)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		if err := e.chunk(ctx, m, c, f); err != nil {
			return fmt.Errorf("users %d to %d: %w", c.first, c.last, err)
		}
	}
	return nil
}

func (e *engine) chunk(ctx context.Context, m *dataset.Meta, c chunk, f func(dataset.Sequence) error) error {
	between := fmt.Sprintf("BETWEEN %d AND %d", c.first, c.last)
	ids, err := e.texts(ctx, "SELECT id FROM users WHERE idx "+between+" ORDER BY idx")
	if err != nil {
		return err
	}
	var s dataset.Sequence
	current := -1
	emit := func() error {
		if current < 0 {
			return nil
		}
		s.ID = ids[current-c.first]
		return f(s)
	}
	var user int
	var t int64
	var item, action, surface int32
	var duration float32
	query := "SELECT u, t, i, a, s, d FROM sorted WHERE u " + between + " ORDER BY u, t, i, a, s, d"
	err = e.each(ctx, query, []any{&user, &t, &item, &action, &surface, &duration}, func() error {
		if user != current {
			if err := emit(); err != nil {
				return err
			}
			current = user
			s = dataset.Sequence{Item: s.Item[:0], TimeMS: s.TimeMS[:0], Action: s.Action[:0], Surface: s.Surface[:0], Duration: s.Duration[:0]}
		}
		s.TimeMS, s.Item, s.Action = append(s.TimeMS, t), append(s.Item, item), append(s.Action, action)
		if len(m.Surfaces) > 0 {
			s.Surface = append(s.Surface, surface)
		}
		if m.Durations {
			s.Duration = append(s.Duration, duration)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return emit()
}
