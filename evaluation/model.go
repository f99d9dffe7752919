package evaluation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/model"
)

// usersAtATime bounds what the device holds while users are embedded.
const usersAtATime = 32

// embedder computes embeddings of a data set's users and items.
type embedder struct {
	data   *dataset.Dataset
	window int // actions
	model  *model.Embedder
	dim    int
	items  []float32 // items x dim
	notes  []string  // about the model
	batch  dataset.Batch
}

// openEmbedder places the model on the device and embeds the catalogue. An embedder is used by one goroutine, and must be closed.
func openEmbedder(o *Options, p *population) (*embedder, error) {
	if o.Device == nil {
		return nil, errors.New("no device")
	}
	m, err := model.New(o.Job, p.meta)
	if err != nil {
		return nil, err
	}
	e := &embedder{data: o.Data, window: o.Job.Model.Window, dim: m.Dim(), items: make([]float32, p.items*m.Dim()), notes: m.Notes()}
	if e.model, err = m.NewEmbedder(o.Device, o.Params, o.Data.Vectors()); err != nil {
		return nil, err
	}
	if err := e.model.Items(e.items); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func (e *embedder) close() error { return e.model.Close() }

// atCut embeds the members at the cut.
func (e *embedder) atCut(ctx context.Context, p *population) (*embeddings, error) {
	users := make([]int32, len(p.members))
	for k := range p.members {
		users[k] = p.members[k].user
	}
	return e.embed(ctx, users, slices.Repeat([]int64{p.meta.CutMS}, len(users)))
}

// embed embeds each users[k] as it was at endMS[k], some at a time.
func (e *embedder) embed(ctx context.Context, users []int32, endMS []int64) (*embeddings, error) {
	v := &embeddings{dim: e.dim, items: e.items, users: make([]float32, len(users)*e.dim)}
	for lo := 0; lo < len(users); lo += usersAtATime {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hi := min(lo+usersAtATime, len(users))
		if err := e.data.Windows(&e.batch, e.window, users[lo:hi], endMS[lo:hi]); err != nil {
			return nil, fmt.Errorf("embed users: %w", err)
		}
		if err := e.model.Users(&e.batch, v.users[lo*e.dim:hi*e.dim]); err != nil {
			return nil, err
		}
	}
	return v, nil
}
