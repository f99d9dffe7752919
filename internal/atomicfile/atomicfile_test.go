package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wantFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("%d files, want %d: %v", len(entries), len(want), entries)
	}
	for name, content := range want {
		if have, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(have) != content {
			t.Errorf("%s holds %q, %v; want %q", name, have, err, content)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, content := range []string{"first", "", "third"} {
		if err := WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, dir, map[string]string{"x": content})
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want -rw-------", info.Mode(), err)
	}
}

func TestFailureChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for _, ifAbsent := range []bool{false, true} {
		err := Write(path, 0o644, ifAbsent, func(w io.Writer) error {
			_, err := w.Write([]byte("half"))
			return errors.Join(err, broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("error %v, want the writer's", err)
		}
		wantFiles(t, dir, map[string]string{"x": "old"})
	}
	if err := WriteFile(filepath.Join(dir, "no", "x"), nil, 0o644); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing directory: %v, want fs.ErrNotExist", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "d"), nil, 0o644); err == nil {
		t.Error("a directory was replaced")
	}
}

func TestIfAbsentHasOneWinner(t *testing.T) {
	dir := t.TempDir()
	var wins atomic.Int32
	var content atomic.Value
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			mine := string(rune('a' + i))
			err := Write(filepath.Join(dir, "x"), 0o644, true, func(w io.Writer) error {
				_, err := io.WriteString(w, mine)
				return err
			})
			if err == nil {
				wins.Add(1)
				content.Store(mine)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v, want fs.ErrExist", err)
			}
		})
	}
	all.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d winners, want 1", wins.Load())
	}
	wantFiles(t, dir, map[string]string{"x": content.Load().(string)})
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{TempPrefix + "a", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveStale(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string]string{TempPrefix + "a": "", "other": ""})
	if err := RemoveStale(dir, time.Now().Add(2*StaleAfter)); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, map[string]string{"other": ""})
	if err := RemoveStale(filepath.Join(dir, "missing"), time.Now()); err != nil {
		t.Errorf("missing directory: %v", err)
	}
}
