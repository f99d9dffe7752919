package serving

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/model"
)

const (
	usersMatrix = "users.safetensors"
	usersPrefix = "users-part-"
)

func partName(k int) string { return fmt.Sprintf("%s%05d.parquet", usersPrefix, k) }

// makeUsers writes the users' files. A part that is finished already is taken as it is.
func (x *export) makeUsers(ctx context.Context, e *model.Embedder, v *previous) (files []checkpoints.FileInfo, err error) {
	all, err := x.newMatrix(usersMatrix, x.users)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	crew, err := x.newCrew(e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, crew.close()) }()
	for lo := 0; lo < x.meta.Users; lo += x.PartUsers {
		hi := min(lo+x.PartUsers, x.meta.Users)
		p, info, err := x.finished(ctx, partName(len(files)))
		if err == nil && p == nil {
			p, info, err = x.makePart(ctx, crew, v, partName(len(files)), lo, hi)
		} else if err == nil && len(p.ids) > 0 {
			x.report.Found += len(p.ids)
			crew.tick(len(p.ids), true)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, info)
		if err := all.append(p.vectors); err != nil {
			return nil, err
		}
	}
	info, err := all.put(ctx, x.Out, x.id.Generation(), usersMatrix)
	return append(files, info), err
}

// makePart computes the part of users lo to hi-1 of the data set and stores it.
func (x *export) makePart(ctx context.Context, c *crew, v *previous, name string, lo, hi int) (*part, checkpoints.FileInfo, error) {
	p := &part{dim: x.id.Dim}
	var users []int32
	for u := lo; u < hi; u++ {
		if q := x.Data.User(u); q.TimeMS[0] <= x.AsOfMS {
			users, p.ids = append(users, int32(u)), append(p.ids, q.ID)
		}
	}
	p.asOfMS, p.inputs, p.vectors = make([]int64, len(users)), make([]uint64, len(users)), make([]uint16, len(users)*p.dim)
	var known map[string]vector
	var err error
	if len(users) > 0 {
		known, err = v.take(ctx, p.ids[0], p.ids[len(p.ids)-1])
	}
	if err == nil {
		err = c.fill(ctx, p, users, known)
	}
	if err != nil {
		return nil, checkpoints.FileInfo{}, err
	}
	info, err := x.spooled(ctx, name, p.writeTo)
	if err == nil {
		err = x.finish(ctx, info)
	}
	return p, info, err
}

// crew are the goroutines that compute.
type crew struct {
	*export
	seats []*seat

	mu   sync.Mutex
	done Progress
}

// seat is the memory of one of them.
type seat struct {
	embedder *model.Embedder
	batch    dataset.Batch
	input    []byte
	out      []float32
}

func (x *export) newCrew(e *model.Embedder) (*crew, error) {
	c := &crew{export: x, done: Progress{Total: x.users}}
	for range x.Threads {
		beside, err := e.Beside()
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.seats = append(c.seats, &seat{embedder: beside, out: make([]float32, x.id.Dim)})
	}
	return c, nil
}

func (c *crew) close() error {
	var err error
	for _, s := range c.seats {
		err = errors.Join(err, s.embedder.Close())
	}
	return err
}

func (c *crew) tick(users int, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Done += users
	if found {
		c.done.Found += users
	}
	c.Progress(c.done)
}

// fill fills in the rows of a part.
func (c *crew) fill(ctx context.Context, p *part, users []int32, known map[string]vector) error {
	g, ctx := errgroup.WithContext(ctx)
	var next, kept atomic.Int64
	for _, s := range c.seats {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(users) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				old, err := c.user(s, p, i, users[i], known[p.ids[i]])
				if err != nil {
					return fmt.Errorf("user %s: %w", p.ids[i], err)
				}
				if old {
					kept.Add(1)
				}
				c.tick(1, false)
			}
		})
	}
	err := g.Wait()
	c.report.Kept += int(kept.Load())
	c.report.Made += len(users) - int(kept.Load())
	return err
}

// user fills in row i, with the known vector if it is of the same input. A user is alone in its batch, so that its neighbours change no bit.
func (c *crew) user(s *seat, p *part, i int, user int32, known vector) (old bool, err error) {
	if err := c.Data.Windows(&s.batch, c.Job.Model.Window, []int32{user}, []int64{c.AsOfMS}); err != nil {
		return false, err
	}
	p.asOfMS[i] = s.batch.TimeMS[len(s.batch.TimeMS)-1]
	p.inputs[i] = c.hash(s)
	if known.halves != nil && known.input == p.inputs[i] {
		copy(p.vector(i), known.halves)
		return true, nil
	}
	if err := s.embedder.Users(&s.batch, s.out); err != nil {
		return false, err
	}
	return false, toHalves(p.vector(i), s.out)
}
