package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

// TestStoreFull: a file system fills up in the middle of a run and has room again when the last step is done. What was written of
// checkpoints that were given up is gone: it would keep the file system full.
func TestStoreFull(t *testing.T) {
	store := smallDisk(t, "16m")
	job := jobFile(t, 120)
	run := startLocal(t, job, "--workers", "2", "--set", "how.store="+store)
	run.next("checkpoint at step ", " committed: ")
	filler := fill(t, store)
	run.next("checkpoint at step ", " skipped: worker worker-", "store full")
	run.next("final checkpoint at step 120", "tries again", "store full")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	run.next("checkpoint at step 120 committed")
	if code := run.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	onlyWhole(t, store)
	_, want := local(t, job, "--workers", "1")
	if have := strings.TrimSpace(output(t, "checkpoint", "digest", store)); have != want.StateDigest {
		t.Errorf("state digest %s, want %s", have, want.StateDigest)
	}
}

// smallDisk mounts a file system of its own in memory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "none", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "--lazy", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fill writes a file until there is no room left.
func fill(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1<<12))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill %s: %v", dir, err)
	}
	return f.Name()
}

// onlyWhole checks that a store holds whole checkpoints and nothing else.
func onlyWhole(t *testing.T, store string) {
	t.Helper()
	err := filepath.WalkDir(store, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || path == store:
			return err
		case strings.HasPrefix(e.Name(), atomicfile.TempPrefix):
			t.Errorf("%s is left behind", path)
		case e.IsDir():
			output(t, "checkpoint", "verify", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStoreReplaced: the store's directory goes and something else is in its place, until the run is interrupted; then it is back, and the run is resumed.
func TestStoreReplaced(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	job := jobFile(t, 60)
	run := startLocal(t, job, "--workers", "2", "--set", "how.store="+store)
	run.next("checkpoint at step ", " committed: ")
	if err := os.Rename(store, store+".away"); err != nil {
		t.Fatal(err)
	}
	// It may be made anew before the file is there.
	for err := os.WriteFile(store, nil, 0o644); err != nil; err = os.WriteFile(store, nil, 0o644) {
		if !errors.Is(err, syscall.EISDIR) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(store); err != nil {
			t.Fatal(err)
		}
	}
	run.next("the last step is done; storing the final checkpoint")
	run.next("final checkpoint at step 60", "tries again", "not a directory")
	run.interrupt()
	if _, stderr, err := try(t, "local", "--job", job, "--dir", filepath.Join(t.TempDir(), "run"), "--set", "how.store="+store); exitCode(err) != 3 || !containsAll(stderr, []string{"how.store " + store, "not a directory"}) {
		t.Errorf("a run with a store that is no directory: %v, %q", err, stderr)
	}
	if err := os.Rename(store+".away", store); err == nil {
		t.Fatal("the file in the store's place is gone")
	}
	if err := errors.Join(os.Remove(store), os.Rename(store+".away", store)); err != nil {
		t.Fatal(err)
	}
	output(t, "checkpoint", "verify", store)
	_, resumed := local(t, job, "--workers", "3", "--set", "how.store="+store, "--resume", store)
	_, want := local(t, job, "--workers", "1")
	if resumed.StateDigest != want.StateDigest {
		t.Errorf("resumed: state digest %s, want %s", resumed.StateDigest, want.StateDigest)
	}
}

// TestRewound: a run that resumes at an old checkpoint of a store comes to states that are stored there already, by a run with another "how".
func TestRewound(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	job := jobFile(t, 60)
	_, first := local(t, job, "--workers", "2", "--set", "how.store="+store)
	_, again := local(t, job, "--workers", "3", "--set", "how.store="+store, "--resume", oldest(t, store))
	if again.StateDigest != first.StateDigest {
		t.Errorf("state digest %s, then %s", first.StateDigest, again.StateDigest)
	}
	onlyWhole(t, store)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
