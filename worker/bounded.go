package worker

import (
	"context"
	"io"
	"time"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// bounded is a store whose every operation ends in time, the reading of one object being one of them.
type bounded struct {
	checkpoints.Store
	limit time.Duration
}

// Put implements checkpoints.Store.
func (b bounded) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum []byte, ifAbsent bool) error {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.Store.Put(ctx, name, body, size, sum, ifAbsent)
}

// Open implements checkpoints.Store.
func (b bounded) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	r, err := b.Store.Open(ctx, name)
	if err != nil {
		cancel()
		return nil, err
	}
	return boundedReader{r, cancel}, nil
}

type boundedReader struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (r boundedReader) Close() error {
	defer r.cancel()
	return r.ReadCloser.Close()
}

// Stat implements checkpoints.Store.
func (b bounded) Stat(ctx context.Context, name string) (checkpoints.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.Store.Stat(ctx, name)
}

// List implements checkpoints.Store.
func (b bounded) List(ctx context.Context, prefix string) ([]checkpoints.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.Store.List(ctx, prefix)
}

// Delete implements checkpoints.Store.
func (b bounded) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return b.Store.Delete(ctx, name)
}

// Sweep implements checkpoints.Sweeper, also for stores that are none.
func (b bounded) Sweep(ctx context.Context, prefix string, before time.Time) (int, error) {
	s, ok := b.Store.(checkpoints.Sweeper)
	if !ok {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	return s.Sweep(ctx, prefix, before)
}
