package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
)

// litter is what this member wrote in its generation for checkpoints that are not committed. Nobody else would remove it once they will
// never be: a store that is full would stay full. What a worker that died wrote is collected when it is old: see retire.
type litter struct {
	mu    sync.Mutex
	steps map[ringleader.Step]*heap
}

type heap struct {
	dir   string
	names []string
	dead  bool // the checkpoint will never be
}

// add notes a part before it is written: an attempt that failed may have taken effect.
func (l *litter) add(step ringleader.Step, dir, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.steps == nil {
		l.steps = map[ringleader.Step]*heap{}
	}
	if l.steps[step] == nil {
		l.steps[step] = &heap{dir: dir}
	}
	if h := l.steps[step]; !slices.Contains(h.names, name) {
		h.names = append(h.names, name)
	}
}

// keep takes a checkpoint off the list: it is committed, or must be.
func (l *litter) keep(step ringleader.Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.steps, step)
}

// abandon marks the checkpoint of a step and tells whether there is something of it to remove.
func (l *litter) abandon(step ringleader.Step) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.steps[step]
	if h != nil {
		h.dead = true
	}
	return h != nil
}

// overtaken marks all checkpoints before a step that is committed: the leader commits in order of steps.
func (l *litter) overtaken(by ringleader.Step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for step, h := range l.steps {
		h.dead = h.dead || step < by
	}
}

// remove deletes what is marked. What cannot be deleted stays on the list.
func (l *litter) remove(ctx context.Context, store checkpoints.Store) error {
	dead := l.dead()
	for _, step := range slices.Sorted(maps.Keys(dead)) {
		if err := dead[step].remove(ctx, store); err != nil {
			return fmt.Errorf("remove parts of the checkpoint at step %d, which was given up: %w", step, err)
		}
		l.keep(step)
	}
	return nil
}

// dead are copies of what is marked.
func (l *litter) dead() map[ringleader.Step]heap {
	l.mu.Lock()
	defer l.mu.Unlock()
	dead := map[ringleader.Step]heap{}
	for step, h := range l.steps {
		if h.dead {
			dead[step] = heap{dir: h.dir, names: slices.Clone(h.names)}
		}
	}
	return dead
}

// remove leaves a directory with a manifest alone: it is complete, by an earlier run of the same job or because the manifest's writer did
// not hear that it succeeded.
func (h heap) remove(ctx context.Context, store checkpoints.Store) error {
	switch _, err := store.Stat(ctx, path.Join(h.dir, checkpoints.ManifestName)); {
	case err == nil:
		return nil
	case !errors.Is(err, checkpoints.ErrNotExist):
		return err
	}
	for _, name := range h.names {
		if err := store.Delete(ctx, path.Join(h.dir, name)); err != nil {
			return err
		}
	}
	return nil
}
