// Package file keeps the objects of a store in a directory, one file each, under their names.
package file

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

// Store is a directory. What it holds is durable when Put returns, also for other machines if the directory is shared.
type Store struct{ root string }

var (
	_ checkpoints.Store   = (*Store)(nil)
	_ checkpoints.Sweeper = (*Store)(nil)
)

// Open opens the store in a directory, which is made when something is put there. The directory's file system must have hard links:
// they decide who comes first.
func Open(dir string) (*Store, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %q: %w", dir, mapped(err))
	}
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("open store %q: %w: not a directory", dir, checkpoints.ErrDenied)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open store %q: %w", dir, mapped(err))
	}
	return &Store{root}, nil
}

// URL implements checkpoints.Store.
func (s *Store) URL() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(s.root)}).String()
}

// Close implements checkpoints.Store. A directory keeps nothing open.
func (s *Store) Close() {}

// Put implements checkpoints.Store.
func (s *Store) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum []byte, ifAbsent bool) error {
	if err := s.put(ctx, name, body, size, sum, ifAbsent); err != nil {
		return fmt.Errorf("put %s: %w", name, mapped(err))
	}
	return nil
}

func (s *Store) put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum []byte, ifAbsent bool) error {
	path, err := s.path(ctx, name)
	if err != nil {
		return err
	}
	if ifAbsent {
		if _, err := os.Lstat(path); err == nil {
			return checkpoints.ErrExist
		}
	}
	dir := filepath.Dir(path)
	for attempt := 0; ; attempt++ {
		err := s.makeDir(dir)
		if err == nil {
			err = atomicfile.RemoveStale(dir, time.Now())
		}
		if err == nil {
			err = atomicfile.Write(path, 0o644, ifAbsent, func(w io.Writer) error { return write(ctx, w, body, size, sum) })
		}
		// A Delete beside us may remove the directory, empty as yet, that we just made.
		if attempt < 3 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return err
	}
}

// write copies body and checks that it is what was announced.
func write(ctx context.Context, w io.Writer, body io.ReadSeeker, size int64, sum []byte) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("seek body: %w", err)
	}
	hash := sha256.New()
	if sum != nil {
		w = io.MultiWriter(w, hash)
	}
	// One byte more than announced, to see that there is none.
	n, err := io.Copy(w, io.LimitReader(reader{ctx, body}, size+1))
	if err != nil {
		return err
	}
	if n != size || sum != nil && !bytes.Equal(hash.Sum(nil), sum) {
		return fmt.Errorf("%w: the body does not have the size of %d bytes and the SHA-256 %x that were announced", checkpoints.ErrCorrupt, size, sum)
	}
	return nil
}

// makeDir makes a directory below the root, and the root, durably.
func (s *Store) makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := s.makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
				return fmt.Errorf("%w: %s is an object, not a directory", checkpoints.ErrDenied, dir)
			}
			return nil
		}
		return err
	}
	return atomicfile.SyncDir(parent)
}

// Open implements checkpoints.Store.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if _, err := s.Stat(ctx, name); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(s.root, filepath.FromSlash(name)))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, mapped(err))
	}
	return struct {
		io.Reader
		io.Closer
	}{reader{ctx, f}, f}, nil
}

// Stat implements checkpoints.Store.
func (s *Store) Stat(ctx context.Context, name string) (checkpoints.Info, error) {
	path, err := s.path(ctx, name)
	if err != nil {
		return checkpoints.Info{}, fmt.Errorf("stat %s: %w", name, mapped(err))
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: not a file", checkpoints.ErrNotExist)
	}
	if err != nil {
		return checkpoints.Info{}, fmt.Errorf("stat %s: %w", name, mapped(err))
	}
	return checkpoints.Info{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// List implements checkpoints.Store. Symbolic links to directories are not followed.
func (s *Store) List(ctx context.Context, prefix string) ([]checkpoints.Info, error) {
	if err := checkpoints.CheckPrefix(prefix); err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	start, _ := filepath.Split(filepath.FromSlash(prefix))
	var list []checkpoints.Info
	// The slash at the end: the root may be a link.
	err := filepath.WalkDir(filepath.Join(s.root, start)+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && !d.IsDir() {
			list, err = s.appendFile(list, path, prefix)
		}
		// What goes while we look is not there.
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, mapped(err))
	}
	slices.SortFunc(list, func(a, b checkpoints.Info) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (s *Store) appendFile(list []checkpoints.Info, path, prefix string) ([]checkpoints.Info, error) {
	relative, err := filepath.Rel(s.root, path)
	name := filepath.ToSlash(relative)
	if err != nil || !strings.HasPrefix(name, prefix) || checkpoints.CheckName(name) != nil {
		return list, err
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return list, err
	}
	return append(list, checkpoints.Info{Name: name, Size: info.Size(), Modified: info.ModTime()}), nil
}

// Delete implements checkpoints.Store. Directories that it leaves empty go, too.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.delete(ctx, name); err != nil {
		return fmt.Errorf("delete %s: %w", name, mapped(err))
	}
	return nil
}

func (s *Store) delete(ctx context.Context, name string) error {
	path := filepath.Join(s.root, filepath.FromSlash(name))
	if _, err := s.Stat(ctx, name); errors.Is(err, checkpoints.ErrNotExist) {
		s.prune(filepath.Dir(path)) // a Put that failed may have made it
		return nil
	} else if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := atomicfile.RemoveStale(dir, time.Now()); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(s.prune(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sweep implements checkpoints.Sweeper: it removes the files that dead writers were writing, and the directories that are empty then.
func (s *Store) Sweep(ctx context.Context, prefix string, before time.Time) (n int, err error) {
	if err := checkpoints.CheckPrefix(prefix); err != nil {
		return 0, fmt.Errorf("sweep %s: %w", prefix, err)
	}
	start, _ := filepath.Split(filepath.FromSlash(prefix))
	err = filepath.WalkDir(filepath.Join(s.root, start)+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist), err == nil && !strings.HasPrefix(d.Name(), atomicfile.TempPrefix):
			return nil
		case err != nil:
			return err
		}
		if info, err := d.Info(); err != nil || !info.ModTime().Before(before) {
			return nil // it has just gone, or is being written
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		n++
		s.prune(filepath.Dir(path))
		return nil
	})
	if err != nil {
		return n, fmt.Errorf("sweep %s: %w", prefix, mapped(err))
	}
	return n, nil
}

// prune removes a directory below the root and those above it that are empty then, and returns the first that stays.
func (s *Store) prune(dir string) string {
	for dir != s.root && syscall.Rmdir(dir) == nil {
		dir = filepath.Dir(dir)
	}
	return dir
}

// path is the file of an object.
func (s *Store) path(ctx context.Context, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return filepath.Join(s.root, filepath.FromSlash(name)), checkpoints.CheckName(name)
}

// reader ends reading when the context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, mapped(err)
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = mapped(err)
	}
	return n, err
}

// mapped wraps err with the store's error for it, unless it has one.
func mapped(err error) error {
	for _, known := range []error{checkpoints.ErrNotExist, checkpoints.ErrExist, checkpoints.ErrDenied, checkpoints.ErrUnavailable,
		checkpoints.ErrFull, checkpoints.ErrCorrupt} {
		if errors.Is(err, known) {
			return err
		}
	}
	kind := checkpoints.ErrUnavailable
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		kind = checkpoints.ErrNotExist
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.EISDIR):
		kind = checkpoints.ErrExist
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		kind = checkpoints.ErrDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		kind = checkpoints.ErrFull
	}
	return fmt.Errorf("%w: %w", kind, err)
}
