package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/checkpoints/s3"
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
		return s3.Open(ctx, cfg)
	}
	path, err := localPath(where)
	if err != nil {
		return nil, err
	}
	return file.Open(path)
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

// runStore is the directory inside a local run that holds its checkpoints.
const runStore = "store"

// openRun opens a run (its directory, or the URL of its store) or a single step directory. dir is the step directory that was
// named, or empty for a run.
func openRun(ctx context.Context, where string) (store checkpoints.Store, dir string, err error) {
	where = strings.TrimRight(where, "/")
	if base, name := splitLast(where); checkpoints.IsDir(name) {
		store, err = openStore(ctx, base)
		return store, name, err
	}
	if isLocal(where) {
		path, err := localPath(where)
		if err != nil {
			return nil, "", err
		}
		if s, err := os.Stat(filepath.Join(path, runStore)); err == nil && s.IsDir() {
			where = filepath.Join(path, runStore)
		} else if _, err := os.Stat(path); err != nil {
			return nil, "", withCode(exitInput, fmt.Errorf("run %s: %w", where, err))
		}
	}
	store, err = openStore(ctx, where)
	return store, "", err
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
