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

// embed computes the embeddings of the catalogue and of the population at the cut.
func embed(ctx context.Context, o *Options, p *population) (_ *embeddings, err error) {
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
	lane, err := o.Device.NewLane(nil)
	if err != nil {
		return nil, fmt.Errorf("open lane: %w", err)
	}
	defer func() { err = errors.Join(err, lane.Close()) }()
	vectors := o.Data.Vectors()
	buf, err := device.Alloc[float32](o.Device, len(params)+len(vectors.Data))
	if err != nil {
		return nil, fmt.Errorf("place parameters and item vectors: %w", err)
	}
	defer o.Device.Free(buf.Addr)
	// Vectors first: their rows then begin where an allocation does.
	onDevice, rest := buf.Slice(0, len(vectors.Data)), buf.Slice(len(vectors.Data), buf.N)
	device.Upload(lane, onDevice, vectors.Data)
	device.Upload(lane, rest, params)
	runner, err := m.NewRunner(o.Device, lane, device.Matrix(onDevice, vectors.Rows, vectors.Cols), nil)
	if err != nil {
		return nil, err
	}
	defer runner.Close()
	e := &embeddings{dim: m.Dim(), items: make([]float32, p.items*m.Dim()), users: make([]float32, len(p.members)*m.Dim())}
	if err := runner.Items(rest, e.items); err != nil {
		return nil, fmt.Errorf("embed items: %w", err)
	}
	return e, e.embedUsers(ctx, o, p, func(b *dataset.Batch, out []float32) error { return runner.Users(rest, b, out) })
}

// embedUsers embeds the members at the cut, some at a time.
func (e *embeddings) embedUsers(ctx context.Context, o *Options, p *population, users func(*dataset.Batch, []float32) error) error {
	var b dataset.Batch
	for lo := 0; lo < len(p.members); lo += usersAtATime {
		if err := ctx.Err(); err != nil {
			return err
		}
		hi := min(lo+usersAtATime, len(p.members))
		var ids []int32
		for _, m := range p.members[lo:hi] {
			ids = append(ids, m.user)
		}
		if err := o.Data.Windows(&b, o.Job.Model.Window, ids, slices.Repeat([]int64{p.meta.CutMS}, len(ids))); err != nil {
			return fmt.Errorf("embed users: %w", err)
		}
		if err := users(&b, e.users[lo*e.dim:hi*e.dim]); err != nil {
			return fmt.Errorf("embed users: %w", err)
		}
	}
	return nil
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
