package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptLeavesNothing: Ctrl-C in the middle of a run ends all processes and removes the scratch files; what was
// stored stays. So does SIGKILL of the parent, as far as processes go.
func TestInterruptLeavesNothing(t *testing.T) {
	job := jobFile(t, 100000)
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		tidy   bool
	}{{"SIGINT", syscall.SIGINT, true}, {"SIGKILL", syscall.SIGKILL, false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			cmd := exec.Command(program, "local", "--job", job, "--dir", dir, "--workers", "2")
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(stderr); lines.Scan() && !strings.Contains(lines.Text(), "loss"); {
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("an interrupted run ended with success")
			}
			awaitNoProcess(t, dir)
			if _, err := os.Stat(filepath.Join(dir, "cluster")); c.tidy && err == nil {
				t.Error("scratch files are left behind")
			}
		})
	}
}

// awaitNoProcess waits until no process has dir on its command line.
func awaitNoProcess(t *testing.T, dir string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := processes(t, dir)
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("processes left behind: %v", left)
		}
	}
}

func processes(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range all {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}
