// Package atomicfile writes files that are there whole or not at all, whatever ends the process or the machine's power.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// TempPrefix begins the names of files that are being written.
const TempPrefix = ".ringleader-tmp-"

// StaleAfter is how long nobody wrote to a temporary file when its writer counts as dead.
const StaleAfter = time.Hour

// WriteFile writes data to the file at path, replacing what was there, and returns when it is durable. perm, less the
// umask, is that of the new file.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Write(path, perm, false, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write is WriteFile for content that write produces. If write fails, nothing changes and its error is wrapped. With ifAbsent, a file that
// is there already stays, and the error is fs.ErrExist; of several writers at the same time, one wins.
func Write(path string, perm fs.FileMode, ifAbsent bool, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	temp := filepath.Join(dir, TempPrefix+rand.Text())
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	defer func() {
		if removeErr := os.Remove(temp); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	// Network file systems report here what they could not write.
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if ifAbsent {
		err = os.Link(temp, path)
	} else {
		err = os.Rename(temp, path)
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write %s: %w", path, fs.ErrExist) // without the name of the temporary file, which is gone
	} else if err != nil {
		return fmt.Errorf("put %s in place: %w", path, err)
	}
	return SyncDir(dir)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	err = d.Sync()
	// Some file systems cannot and need not.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// RemoveStale removes from a directory what dead writers left: temporary files that are older than StaleAfter. A directory that is not
// there is no error.
func RemoveStale(dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale files: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), TempPrefix) {
			continue
		}
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > StaleAfter {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale files: %w", err)
		}
	}
	return nil
}
