package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/checkpoints/s3"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
)

// openStore chooses the backend: file:///PATH, a plain path, or s3://bucket/prefix.
func openStore(ctx context.Context, where string) (checkpoints.Store, error) {
	if where == "" {
		return nil, withCode(exitUsage, fmt.Errorf("store URL is empty; allowed: a path, file:///PATH, s3://BUCKET/PREFIX"))
	}
	if strings.HasPrefix(where, "s3://") {
		cfg, err := s3.FromURL(where, os.Getenv)
		if err != nil {
			return nil, withCode(exitUsage, err)
		}
		store, err := s3.Open(ctx, cfg)
		if err != nil {
			return nil, storeError(err)
		}
		return store, nil
	}
	path, err := localPath(where)
	if err != nil {
		return nil, err
	}
	store, err := file.Open(path)
	if err != nil {
		return nil, storeError(err)
	}
	return store, nil
}

// storeError gives trouble with a store, or with what is in it, its exit code.
func storeError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return withCode(exitInterrupted, err)
	case errors.Is(err, checkpoints.ErrUnavailable):
		return withCode(exitUnreachable, err)
	}
	return withCode(exitInput, err)
}

// dataError gives trouble with a data set its exit code. Of a place where none is, it says just that.
func dataError(what, where string, err error) error {
	if errors.Is(err, checkpoints.ErrNotExist) && strings.Contains(err.Error(), "open "+dataset.MetaName) {
		err = fmt.Errorf("no data set is there: %s %w", dataset.MetaName, checkpoints.ErrNotExist)
	}
	return storeError(fmt.Errorf("%s %s: %w", what, where, err))
}

// probeStore puts an object into a store and removes it. A run is told before it starts that its checkpoints cannot be stored: later,
// it would go on and report every one of them.
func probeStore(ctx context.Context, where string) error {
	store, err := openStore(ctx, where)
	if err != nil {
		return err
	}
	defer store.Close()
	const name = "write-probe"
	sum := sha256.Sum256(nil)
	if err = store.Put(ctx, name, bytes.NewReader(nil), 0, sum[:], false); err == nil {
		err = store.Delete(ctx, name)
	}
	return storeError(err)
}

// checkOwner refuses a store whose newest checkpoint is another job's: who asks for the newest one of the run would get that, and two jobs would seem
// to be one. A store that is not there yet belongs to nobody.
func checkOwner(ctx context.Context, where string, digest ringleader.Digest) error {
	store, err := openStore(ctx, where)
	if err != nil {
		return err
	}
	defer store.Close()
	found, err := checkpoints.List(ctx, store, "")
	if err != nil {
		return storeError(err)
	}
	for _, f := range found {
		if m, _, err := checkpoints.ReadManifest(ctx, store, f.Dir); err == nil && m.Job != digest {
			return withCode(exitInput, &foreignError{f.Dir, m.Job, digest})
		} else if err == nil {
			return nil
		}
	}
	return nil
}

type foreignError struct {
	dir          string
	theirs, this ringleader.Digest
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("its newest checkpoint, %s, is of the job with digest %s, this job's is %s; want a store for each job", e.dir, e.theirs, e.this)
}

// localPath is the path that a store URL names on this machine; an error for any other scheme.
func localPath(where string) (string, error) {
	scheme, _, found := strings.Cut(where, "://")
	if !found {
		return filepath.Abs(where)
	}
	u, err := url.Parse(where)
	if err != nil || scheme != "file" || u.Host != "" || u.Path == "" {
		return "", withCode(exitUsage, fmt.Errorf("store URL %q: allowed: a path, file:///PATH, s3://BUCKET/PREFIX", where))
	}
	return filepath.Clean(u.Path), nil
}

// isLocal tells whether a URL names a place on this machine.
func isLocal(where string) bool { return !strings.HasPrefix(where, "s3://") }

// In the directory of a local run.
const (
	runStore = "store"    // holds its checkpoints, unless its job names another place
	runJob   = "job.json" // the job, in canonical form
)

// openRun opens a run (its directory, or the URL of its store) or a single step directory. dir is the step directory that was
// named, or empty for a run.
func openRun(ctx context.Context, where string) (store checkpoints.Store, dir string, err error) {
	where = strings.TrimRight(where, "/")
	if base, name := splitLast(where); checkpoints.IsDir(name) {
		store, err = openStore(ctx, base)
		return store, name, err
	}
	if isLocal(where) {
		if where, err = storeOfRun(where); err != nil {
			return nil, "", err
		}
	}
	store, err = openStore(ctx, where)
	return store, "", err
}

// storeOfRun is where a directory's checkpoints are: in it, in the folder of a local run, or where the job of a local run says.
func storeOfRun(where string) (string, error) {
	dir, err := localPath(where)
	if err != nil {
		return "", err
	}
	if s, err := os.Stat(filepath.Join(dir, runStore)); err == nil && s.IsDir() {
		return filepath.Join(dir, runStore), nil
	}
	if _, err := os.Stat(dir); err != nil {
		return "", withCode(exitInput, fmt.Errorf("run %s: %w", where, err))
	}
	if _, err := os.Stat(filepath.Join(dir, checkpoints.ManifestName)); err == nil {
		return dir, nil // a checkpoint under a name of its own, whose job is beside it too
	}
	text, err := os.ReadFile(filepath.Join(dir, runJob))
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil
	}
	var spec job.Spec
	if err == nil {
		spec, err = job.FromCanonical(bytes.TrimSpace(text))
	}
	if err != nil {
		return "", withCode(exitInput, fmt.Errorf("run %s: its %s: %w", where, runJob, err))
	}
	return spec.How.Store, nil
}

func splitLast(where string) (base, name string) {
	i := strings.LastIndexByte(where, '/')
	if i < 0 {
		return ".", where
	}
	if i == 0 {
		return "/", where[1:]
	}
	return where[:i], where[i+1:]
}
