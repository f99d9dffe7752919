package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/storetest"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Store, name string) {
	t.Helper()
	if err := storetest.Put(t.Context(), s, name, []byte("content"), false); err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) checkpoints.Store {
		dir := filepath.Join(t.TempDir(), "not", "made yet")
		t.Cleanup(func() { wantNoTemp(t, dir) })
		return open(t, dir)
	})
}

// wantNoTemp looks for what no test may leave, whatever failed in it.
func wantNoTemp(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), atomicfile.TempPrefix) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestLinkedRoot(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	s := open(t, link)
	put(t, s, "a/b")
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("list through a link: %v, %v; want a/b", list, err)
	}
	if s.URL() != "file://"+link {
		t.Errorf("URL %s", s.URL())
	}
}

// A writer that died leaves its file; the next one in that directory removes it, but not that of a writer at work.
func TestStaleFiles(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "dir/a")
	stale := filepath.Join(s.root, "dir", atomicfile.TempPrefix+"stale")
	fresh := filepath.Join(s.root, "dir", atomicfile.TempPrefix+"fresh")
	for _, path := range []string{stale, fresh} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * atomicfile.StaleAfter)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("list: %v, %v; want dir/a alone", list, err)
	}
	put(t, s, "dir/b")
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stale file: %v, want that it is gone", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh file: %v", err)
	}
	if err := os.Chtimes(fresh, old, old); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dir/a", "dir/b"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(s.root); err != nil || len(left) != 0 {
		t.Errorf("left after all was deleted: %v, %v", left, err)
	}
}

// A Put that failed may leave a directory; deleting what it did not put removes it, and nothing else.
func TestDeletePrunes(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "object")
	put(t, s, "full/object")
	if err := storetest.Put(t.Context(), s, "empty/below/x", nil, false); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.root, "empty", "below", "x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty/below/x", "full/x", "object/x", "full", "nowhere/x"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.root, "empty")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory: %v, want that it is gone", err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 2 {
		t.Errorf("left: %v, %v; want both objects", list, err)
	}
}

func TestOpenRefusesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, checkpoints.ErrDenied) {
		t.Errorf("open a file: %v, want ErrDenied", err)
	}
	s := open(t, filepath.Dir(path))
	if err := storetest.Put(t.Context(), s, "file/below", nil, false); !errors.Is(err, checkpoints.ErrDenied) {
		t.Errorf("put below an object: %v, want ErrDenied", err)
	}
}

func TestDenied(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may do everything; TestMapped covers the mapping")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Put(t.Context(), open(t, dir), "x", nil, false); !errors.Is(err, checkpoints.ErrDenied) {
		t.Errorf("put: %v, want ErrDenied", err)
	}
}

func TestMapped(t *testing.T) {
	for err, want := range map[error]error{
		syscall.ENOENT: checkpoints.ErrNotExist, syscall.ENOTDIR: checkpoints.ErrNotExist, syscall.EEXIST: checkpoints.ErrExist,
		syscall.EACCES: checkpoints.ErrDenied, syscall.EPERM: checkpoints.ErrDenied, syscall.EROFS: checkpoints.ErrDenied,
		syscall.ENOSPC: checkpoints.ErrFull, syscall.EDQUOT: checkpoints.ErrFull,
		syscall.EIO: checkpoints.ErrUnavailable, syscall.ESTALE: checkpoints.ErrUnavailable, context.Canceled: checkpoints.ErrUnavailable,
	} {
		if have := mapped(&os.PathError{Op: "write", Path: "x", Err: err}); !errors.Is(have, want) || !errors.Is(have, err) {
			t.Errorf("%v became %v, want %v", err, have, want)
		}
	}
}

// A device that is always full stands for a full disk.
func TestFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no /dev/full here: %v", err)
	}
	defer full.Close()
	content := storetest.Content(1000, 1)
	err = mapped(write(t.Context(), full, strings.NewReader(string(content)), 1000, nil))
	if !errors.Is(err, checkpoints.ErrFull) {
		t.Errorf("write to a full device: %v, want ErrFull", err)
	}
}

// Sweep finds what dead writers left in directories in which nobody writes any more; what is being written stays.
func TestSweep(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, "run/a")
	old := time.Now().Add(-2 * time.Hour)
	for path, modified := range map[string]time.Time{"run/step-1/" + atomicfile.TempPrefix + "x": old, "run/" + atomicfile.TempPrefix + "x": old,
		"run/" + atomicfile.TempPrefix + "y": time.Now(), "other/" + atomicfile.TempPrefix + "x": old} {
		path = filepath.Join(s.root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600), os.Chtimes(path, modified, modified)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Sweep(t.Context(), "run/", time.Now().Add(-time.Hour)); n != 2 || err != nil {
		t.Errorf("swept %d, %v; want 2", n, err)
	}
	var left []string
	err := filepath.WalkDir(s.root, func(path string, _ os.DirEntry, err error) error {
		left = append(left, strings.TrimPrefix(path, s.root))
		return err
	})
	if want := []string{"", "/other", "/other/" + atomicfile.TempPrefix + "x", "/run", "/run/" + atomicfile.TempPrefix + "y", "/run/a"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, %v; want %q", left, err, want)
	}
	if n, err := s.Sweep(t.Context(), "nowhere/", time.Now()); n != 0 || err != nil {
		t.Errorf("swept %d, %v; want nothing", n, err)
	}
}
