package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// Embedder computes embeddings with the parameters of a state, which are on the device once, with the item vectors. It is used by one goroutine at a
// time; Beside opens more.
type Embedder struct {
	m       *Model
	dev     device.Device
	vectors device.Mat
	params  device.F32
	runner  *Runner
	undo    []func() error
}

// NewEmbedder places params, in the order of Tensors, and item vectors on a device. Parameters of another model are refused. Close it before the device.
func (m *Model) NewEmbedder(dev device.Device, params []checkpoints.Tensor, vectors dataset.Vectors) (_ *Embedder, err error) {
	flat, err := m.flatten(params)
	if err != nil {
		return nil, err
	}
	e := &Embedder{m: m, dev: dev}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	buf, err := device.Alloc[float32](dev, len(flat)+len(vectors.Data))
	if err != nil {
		return nil, fmt.Errorf("place parameters and item vectors: %w", err)
	}
	e.undo = append(e.undo, func() error { dev.Free(buf.Addr); return nil })
	// Vectors first: their rows then begin where an allocation does.
	e.vectors = device.Matrix(buf.Slice(0, len(vectors.Data)), vectors.Rows, vectors.Cols)
	e.params = buf.Slice(len(vectors.Data), buf.N)
	err = e.open(func(lane device.Lane) {
		device.Upload(lane, e.vectors.Data, vectors.Data)
		device.Upload(lane, e.params, flat)
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Beside is an embedder of the same parameters for another goroutine. It must be closed before e.
func (e *Embedder) Beside() (*Embedder, error) {
	other := &Embedder{m: e.m, dev: e.dev, vectors: e.vectors, params: e.params}
	if err := other.open(func(device.Lane) {}); err != nil {
		return nil, errors.Join(err, other.Close())
	}
	return other, nil
}

// open opens a lane, lets begin use it, and opens a runner on it, which waits for the lane.
func (e *Embedder) open(begin func(device.Lane)) error {
	lane, err := e.dev.NewLane(nil)
	if err != nil {
		return fmt.Errorf("open lane: %w", err)
	}
	e.undo = append(e.undo, lane.Close)
	begin(lane)
	if e.runner, err = e.m.NewRunner(e.dev, lane, e.vectors, nil); err != nil {
		return err
	}
	e.undo = append(e.undo, func() error { e.runner.Close(); return nil })
	return nil
}

// Close gives back what the embedder holds.
func (e *Embedder) Close() error {
	var err error
	for _, undo := range slices.Backward(e.undo) {
		err = errors.Join(err, undo())
	}
	e.undo = nil
	return err
}

// Users is Runner.Users.
func (e *Embedder) Users(b *dataset.Batch, out []float32) error {
	return e.runner.Users(e.params, b, out)
}

// Items is Runner.Items.
func (e *Embedder) Items(out []float32) error { return e.runner.Items(e.params, out) }

// flatten puts a state's parameters in one run of memory, and refuses those of another model.
func (m *Model) flatten(params []checkpoints.Tensor) ([]float32, error) {
	if len(params) != len(m.tensors) {
		return nil, fmt.Errorf("parameters: %d tensors; the job's model has %d", len(params), len(m.tensors))
	}
	flat := make([]float32, m.length)
	for i, t := range m.tensors {
		if params[i].Name != t.Name || !slices.Equal(params[i].Shape, t.Shape) {
			return nil, fmt.Errorf("parameters: tensor %d is %s %v; the job's model has %s %v", i, params[i].Name, params[i].Shape, t.Name, t.Shape)
		}
		if len(params[i].Data) != t.Len() {
			return nil, fmt.Errorf("parameters: tensor %s has %d elements; its shape %v has %d", t.Name, len(params[i].Data), t.Shape, t.Len())
		}
		copy(flat[t.Offset:], params[i].Data)
	}
	return flat, nil
}
