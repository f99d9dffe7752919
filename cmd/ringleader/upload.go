package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// uploadDir copies a data set's directory into a store; dataset.json, which makes it one, comes last.
func uploadDir(ctx context.Context, store checkpoints.Store, dir string) error {
	var names []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	last := filepath.Join(dir, "dataset.json")
	names = append(slices.DeleteFunc(names, func(n string) bool { return n == last }), last)
	for _, path := range names {
		if err := uploadFile(ctx, store, dir, path); err != nil {
			return fmt.Errorf("upload %s to %s: %w", path, store.URL(), err)
		}
	}
	return nil
}

func uploadFile(ctx context.Context, store checkpoints.Store, dir, path string) error {
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	return store.Put(ctx, filepath.ToSlash(name), f, size, h.Sum(nil), false)
}
