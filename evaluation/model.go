package evaluation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/model"
)

// usersAtATime bounds what the device holds while users are embedded.
const usersAtATime = 32

// embedder computes embeddings with a model on a device.
type embedder struct {
	data   *dataset.Dataset
	window int // actions
	runner *model.Runner
	params device.F32
	dim    int
	items  []float32 // items x dim
	notes  []string  // about the model
	batch  dataset.Batch
	undo   []func() error
}

// openEmbedder places the model on the device and embeds the catalogue. An embedder is used by one goroutine, and must be closed.
func openEmbedder(o *Options, p *population) (_ *embedder, err error) {
	if o.Device == nil {
		return nil, errors.New("no device")
	}
	m, err := model.New(o.Job, p.meta)
	if err != nil {
		return nil, err
	}
	params, err := flatten(o.Params, m.Tensors(), m.Size())
	if err != nil {
		return nil, err
	}
	e := &embedder{data: o.Data, window: o.Job.Model.Window, dim: m.Dim(), items: make([]float32, p.items*m.Dim()), notes: m.Notes()}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	lane, err := o.Device.NewLane(nil)
	if err != nil {
		return nil, fmt.Errorf("open lane: %w", err)
	}
	e.undo = append(e.undo, lane.Close)
	vectors := o.Data.Vectors()
	buf, err := device.Alloc[float32](o.Device, len(params)+len(vectors.Data))
	if err != nil {
		return nil, fmt.Errorf("place parameters and item vectors: %w", err)
	}
	e.undo = append(e.undo, func() error { o.Device.Free(buf.Addr); return nil })
	// Vectors first: their rows then begin where an allocation does.
	onDevice := buf.Slice(0, len(vectors.Data))
	e.params = buf.Slice(len(vectors.Data), buf.N)
	device.Upload(lane, onDevice, vectors.Data)
	device.Upload(lane, e.params, params)
	if e.runner, err = m.NewRunner(o.Device, lane, device.Matrix(onDevice, vectors.Rows, vectors.Cols), nil); err != nil {
		return nil, err
	}
	e.undo = append(e.undo, func() error { e.runner.Close(); return nil })
	if err := e.runner.Items(e.params, e.items); err != nil {
		return nil, fmt.Errorf("embed items: %w", err)
	}
	return e, nil
}

func (e *embedder) close() error {
	var err error
	for _, undo := range slices.Backward(e.undo) {
		err = errors.Join(err, undo())
	}
	e.undo = nil
	return err
}

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
		if err := e.runner.Users(e.params, &e.batch, v.users[lo*e.dim:hi*e.dim]); err != nil {
			return nil, fmt.Errorf("embed users: %w", err)
		}
	}
	return v, nil
}

// flatten puts a state's parameters in one run of memory, and refuses those of another model.
func flatten(params []checkpoints.Tensor, want []model.Tensor, size int) ([]float32, error) {
	if len(params) != len(want) {
		return nil, fmt.Errorf("parameters: %d tensors; the job's model has %d", len(params), len(want))
	}
	flat := make([]float32, size)
	for i, t := range want {
		if params[i].Name != t.Name || !slices.Equal(params[i].Shape, t.Shape) {
			return nil, fmt.Errorf("parameters: tensor %d is %s %v; the job's model has %s %v", i, params[i].Name, params[i].Shape, t.Name, t.Shape)
		}
		n := 1
		for _, d := range t.Shape {
			n *= d
		}
		if len(params[i].Data) != n {
			return nil, fmt.Errorf("parameters: tensor %s has %d elements; its shape %v has %d", t.Name, len(params[i].Data), t.Shape, n)
		}
		copy(flat[t.Offset:], params[i].Data)
	}
	return flat, nil
}
