package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemons are a coordinator and workers that are started one by one, as on several machines: each with a device and an environment of its own.
type daemons struct {
	*testing.T
	dir   string
	flags []string // by which others find the coordinator
}

// startCoordinator starts a coordinator on a free port.
func startCoordinator(t *testing.T) *daemons {
	t.Helper()
	address := closedPort(t)
	d := &daemons{T: t, dir: t.TempDir(), flags: []string{"--coordinators", address, "--token-file", token(t)}}
	d.start(nil, "coordinator", "--data-dir", filepath.Join(d.dir, "coordinator"), "--bind", address, "--peers", address, "--token-file", d.flags[3])
	return d
}

// worker starts a worker and waits until the coordinator knows it.
func (d *daemons) worker(name, device string, environment ...string) *daemon {
	d.Helper()
	args := append([]string{"worker", "--id", name, "--device", device, "--dir", filepath.Join(d.dir, name)}, d.flags...)
	w := d.start(environment, args...)
	select {
	case <-w.attached:
	case <-w.done:
		d.Fatalf("worker %s ended:\n%s", name, w.said.Bytes())
	}
	return w
}

// train submits a job, waits for its end, and returns where it is stored and what job show says of it.
func (d *daemons) train(job string, set ...string) (store, shown string) {
	d.Helper()
	store = filepath.Join(d.dir, "store")
	args := append([]string{"job", "submit", job, "--wait", "--set", "how.store=" + store}, with(set, d.flags...)...)
	id := strings.TrimSpace(output(d.T, args...))
	return store, output(d.T, append([]string{"job", "show", id}, d.flags...)...)
}

// daemon is a process that runs until the end of the test, if not shorter.
type daemon struct {
	t              *testing.T
	cmd            *exec.Cmd
	attached, done chan struct{}
	said           bytes.Buffer // on standard error; whole when done is closed
}

func (d *daemons) start(environment []string, args ...string) *daemon {
	d.Helper()
	cmd := exec.CommandContext(d.Context(), program, args...)
	cmd.Env = slices.Concat(os.Environ(), environment)
	return d.run(cmd)
}

func (d *daemons) run(cmd *exec.Cmd) *daemon {
	d.Helper()
	p := &daemon{t: d.T, cmd: cmd, attached: make(chan struct{}), done: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	noError(d.T, err)
	noError(d.T, p.cmd.Start())
	go func() {
		defer close(p.done)
		attached := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.said.WriteString(lines.Text() + "\n")
			if !attached && strings.Contains(lines.Text(), "msg=attached") {
				attached = true
				close(p.attached)
			}
		}
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	d.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-p.done
		if d.Failed() {
			d.Logf("%s said:\n%s", strings.Join(cmd.Args[1:4], " "), p.said.Bytes())
		}
	})
	return p
}

// end waits until the process ends by itself, and returns the last line that it said, and its exit code.
func (p *daemon) end() (last string, code int) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%v does not end", p.cmd.Args)
	}
	said := strings.TrimSpace(p.said.String())
	return said[strings.LastIndexByte(said, '\n')+1:], p.cmd.ProcessState.ExitCode()
}
