package checkpoints

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ringleader-dev/ringleader"
)

// Found is a directory that looks like a checkpoint; nothing in it is verified.
type Found struct {
	Dir       string // from the store's root
	Step      ringleader.Step
	Committed bool // it has a manifest; without one its writing was given up, or is under way
}

// stepDir is what Dir makes.
var stepDir = regexp.MustCompile(`^step-(\d{8,18})-[0-9a-f]{8}$`)

// stepOf is the step in a directory's name.
func stepOf(dir string) (ringleader.Step, bool) {
	match := stepDir.FindStringSubmatch(path.Base(dir))
	if match == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	return ringleader.Step(n), err == nil
}

// List finds the checkpoints in and below a directory ("" is the store's root), newest first.
func List(ctx context.Context, store Store, under string) ([]Found, error) {
	prefix := strings.Trim(under, "/")
	if prefix != "" {
		prefix += "/"
	}
	objects, err := store.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var found []Found
	at := map[string]int{}
	for _, o := range objects {
		dir, file := path.Split(o.Name)
		dir = strings.TrimSuffix(dir, "/")
		step, ok := stepOf(dir)
		if !ok {
			continue
		}
		if _, ok := at[dir]; !ok {
			at[dir] = len(found)
			found = append(found, Found{Dir: dir, Step: step})
		}
		if file == ManifestName {
			found[at[dir]].Committed = true
		}
	}
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(b.Step, a.Step), cmp.Compare(b.Dir, a.Dir))
	})
	return found, nil
}

// Newest is the newest checkpoint in and below a directory that is good, with the reasons why newer ones were passed over. Without a good
// one the error is ErrNotExist. Trouble with the store is an error and no reason to take an older checkpoint.
func Newest(ctx context.Context, store Store, under string) (Found, []error, error) {
	found, err := List(ctx, store, under)
	if err != nil {
		return Found{}, nil, err
	}
	return firstGood(found, func(f Found) error { return errors.Join(Verify(ctx, store, f.Dir)...) })
}

// LoadNewest loads the newest good checkpoint and says why newer ones were passed over. dir is one checkpoint, to be loaded if it is good, and
// otherwise the newest good one beside it of an earlier step; or a directory with checkpoints in and below it ("" is the store's
// root). Errors are like those of Newest. Whose job it is, is for the caller to check.
func LoadNewest(ctx context.Context, store Store, dir string) (*State, *Manifest, []error, error) {
	candidates, err := startAt(ctx, store, strings.Trim(dir, "/"))
	if err != nil {
		return nil, nil, nil, err
	}
	var st *State
	var m *Manifest
	_, skipped, err := firstGood(candidates, func(f Found) (err error) {
		st, m, err = Load(ctx, store, f.Dir)
		return err
	})
	return st, m, skipped, err
}

// startAt lists the checkpoints that dir stands for, in the order in which they are to be tried.
func startAt(ctx context.Context, store Store, dir string) ([]Found, error) {
	step, named := stepOf(dir)
	if !named {
		// A copy under a name of its own, or a store that was opened at a checkpoint.
		_, err := store.Stat(ctx, join(dir, ManifestName))
		if err == nil {
			return []Found{{Dir: dir, Committed: true}}, nil
		} else if !errors.Is(err, ErrNotExist) {
			return nil, fmt.Errorf("find checkpoint: %w", err)
		}
		return List(ctx, store, dir)
	}
	parent := strings.TrimSuffix(dir, path.Base(dir))
	beside, err := List(ctx, store, parent)
	if err != nil {
		return nil, err
	}
	candidates := []Found{{Dir: dir, Step: step, Committed: true}}
	for _, f := range beside {
		if f.Step < step && f.Dir == parent+path.Base(f.Dir) {
			candidates = append(candidates, f)
		}
	}
	return candidates, nil
}

// IsDamage tells what is wrong with a checkpoint from what is wrong with the store or the call.
func IsDamage(err error) bool {
	return (errors.Is(err, ErrCorrupt) || errors.Is(err, ErrNotExist)) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDenied)
}

func firstGood(found []Found, try func(Found) error) (Found, []error, error) {
	var skipped []error
	for _, f := range found {
		err := try(f)
		if err == nil {
			return f, skipped, nil
		}
		if !IsDamage(err) {
			return Found{}, skipped, err
		}
		if !f.Committed {
			err = fmt.Errorf("%s: was never completed: %w", f.Dir, ErrNotExist)
		}
		skipped = append(skipped, err)
	}
	return Found{}, skipped, fmt.Errorf("find a good checkpoint: %w", errors.Join(append([]error{ErrNotExist}, skipped...)...))
}

// Delete removes a checkpoint, the manifest first: whatever interrupts it, no checkpoint is left that looks complete. Deleting again
// finishes the work.
func Delete(ctx context.Context, store Store, dir string) error {
	dir = strings.Trim(dir, "/")
	if _, ok := stepOf(dir); !ok {
		return fmt.Errorf("delete checkpoint %q: want a directory named step-<step>-<digest>", dir)
	}
	if err := store.Delete(ctx, join(dir, ManifestName)); err != nil {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	objects, err := store.List(ctx, dir+"/")
	if err != nil {
		return fmt.Errorf("delete checkpoint: %w", err)
	}
	for _, o := range objects {
		if err := store.Delete(ctx, o.Name); err != nil {
			return fmt.Errorf("delete checkpoint: %w", err)
		}
	}
	return nil
}

// IsDir says whether the last element of a path is the name of a checkpoint's directory.
func IsDir(name string) bool { _, ok := stepOf(name); return ok }
