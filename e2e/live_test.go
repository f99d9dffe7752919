package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// live is a ringleader that runs while the test does things to its surroundings.
type live struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string // of the run
	lines  *bufio.Scanner
	said   bytes.Buffer // what it wrote on standard error so far
	stdout bytes.Buffer
}

// startLocal starts ringleader local in a directory of its own.
func startLocal(t *testing.T, job string, args ...string) *live {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	l := &live{t: t, dir: filepath.Join(t.TempDir(), "run")}
	l.cmd = exec.CommandContext(ctx, program, append([]string{"local", "--job", job, "--dir", l.dir}, args...)...)
	l.cmd.Stdout = &l.stdout
	stderr, err := l.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.lines = bufio.NewScanner(stderr)
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if l.cmd.ProcessState == nil {
			_ = l.cmd.Wait() // the test has failed already
		}
		if t.Failed() {
			t.Logf("ringleader local said:\n%s", l.said.Bytes())
		}
	})
	return l
}

// next returns the next line that has all of the parts.
func (l *live) next(parts ...string) string {
	l.t.Helper()
	for l.lines.Scan() {
		line := l.lines.Text()
		l.said.WriteString(line + "\n")
		if containsAll(line, parts) {
			return line
		}
	}
	l.t.Fatalf("ringleader ended without a line that has %q", parts)
	return ""
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// end waits for the end and returns the exit code.
func (l *live) end() int {
	l.t.Helper()
	for l.lines.Scan() {
		l.said.WriteString(l.lines.Text() + "\n")
	}
	var exit *exec.ExitError
	if err := l.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return l.cmd.ProcessState.ExitCode()
}

// interrupt is Ctrl-C. It fails the test unless the run ends by itself, with the code for it, and leaves no process.
func (l *live) interrupt() {
	l.t.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGINT); err != nil {
		l.t.Fatal(err)
	}
	if code := l.end(); code != 130 {
		l.t.Errorf("exit code %d after Ctrl-C, want 130", code)
	}
	awaitNoProcess(l.t, l.dir)
	for _, log := range []string{"worker-0.log", "worker-1.log"} {
		// One that had to be killed did not come to this.
		if text := read(l.t, filepath.Join(l.dir, "logs", log)); !strings.Contains(text, `msg="left generation"`) {
			l.t.Errorf("%s does not tell that the worker left its gang:\n%s", log, text)
		}
	}
}
