package checkpoints

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// StaleAfter is how long nothing of an unfinished checkpoint may have changed when its writers count as dead: much longer than clocks differ.
const StaleAfter = time.Hour

// Sweeper is a store that knows of writes that began and never ended, of which List shows nothing.
type Sweeper interface {
	// Sweep gives up those of names that start with prefix that began before a time, and says how many there were.
	Sweep(ctx context.Context, prefix string, before time.Time) (int, error)
}

// Collect removes what writers that died left directly in a directory ("" is the store's root): parts of checkpoints of steps before a
// given one that have no manifest and were all written before a time, and writes that were begun before it. It returns the directories that it
// removed. Nobody may be writing checkpoints of such steps and have been silent since that time. It looks again at every part before
// removing it: a checkpoint that somebody began to write anew is left alone.
func Collect(ctx context.Context, store Store, under string, step ringleader.Step, before time.Time) (removed []string, err error) {
	under = strings.Trim(under, "/")
	prefix := under
	if under != "" {
		prefix += "/"
	}
	if s, ok := store.(Sweeper); ok {
		if _, err := s.Sweep(ctx, prefix, before); err != nil {
			return nil, fmt.Errorf("collect unfinished writes: %w", err)
		}
	}
	objects, err := store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("collect unfinished checkpoints: %w", err)
	}
	for len(objects) > 0 {
		// Objects are sorted by name, so those of a directory are together.
		dir, n := path.Dir(objects[0].Name), 1
		for n < len(objects) && path.Dir(objects[n].Name) == dir {
			n++
		}
		files := objects[:n]
		objects = objects[n:]
		if s, ok := stepOf(dir); !ok || s >= step || dir != join(under, path.Base(dir)) {
			continue
		}
		gone, err := removeStale(ctx, store, files, before)
		if err != nil {
			return removed, fmt.Errorf("collect unfinished checkpoint %s: %w", dir, err)
		}
		if gone {
			removed = append(removed, dir)
		}
	}
	return removed, nil
}

// removeStale removes the files of a directory if none is a manifest and all are old.
func removeStale(ctx context.Context, store Store, files []Info, before time.Time) (bool, error) {
	for _, f := range files {
		if path.Base(f.Name) == ManifestName || !f.Modified.Before(before) {
			return false, nil
		}
	}
	for _, f := range files {
		if _, err := store.Stat(ctx, path.Join(path.Dir(f.Name), ManifestName)); !errors.Is(err, ErrNotExist) {
			return false, err
		}
		switch now, err := store.Stat(ctx, f.Name); {
		case errors.Is(err, ErrNotExist):
			continue
		case err != nil:
			return false, err
		case !now.Modified.Before(before):
			return false, nil
		}
		if err := store.Delete(ctx, f.Name); err != nil {
			return false, err
		}
	}
	return true, nil
}
