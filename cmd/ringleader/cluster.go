package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
)

// cluster is coordinators and workers as child processes on loopback. Its methods are called by one goroutine.
type cluster struct {
	dir          string // scratch of the processes; removed by stop
	logs         string
	token        rpcauth.Token
	tokenFile    string
	addresses    []string // of the coordinators
	coordinators []*child
	workers      []*child      // by start index
	troubled     bool          // the processes bring troubles about when told
	heartbeat    time.Duration // of Raft; 0: the default
	heard        chan heard
	quit         chan struct{} // closed by stop: nobody reads heard any longer
}

// heard is something that a child said, or its end.
type heard struct {
	from  *child
	at    time.Time
	event event
	ended bool
}

// child is one process.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the process has ended
	log   string

	lost     bool // a fault killed it
	stubborn bool // stop had to kill it
}

// newCluster prepares a cluster in dir, which is its own. What is there was left by one that was killed: a coordinator would take its
// jobs up again.
func newCluster(dir, logs string) (*cluster, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove what an earlier cluster left: %w", err)
	}
	for _, d := range []string{dir, logs} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	c := &cluster{dir: dir, logs: logs, token: rpcauth.Token(rand.Text()), tokenFile: filepath.Join(dir, "token"),
		heard: make(chan heard, 256), quit: make(chan struct{})}
	return c, atomicfile.WriteFile(c.tokenFile, []byte(string(c.token)+"\n"), 0o600)
}

// startCoordinators starts n coordinators on free loopback ports.
func (c *cluster) startCoordinators(n int) error {
	ports, err := freePorts(n)
	if err != nil {
		return err
	}
	for _, p := range ports {
		c.addresses = append(c.addresses, fmt.Sprintf("127.0.0.1:%d", p))
	}
	for i := range c.addresses {
		ch, err := c.startCoordinator(i)
		if err != nil {
			return err
		}
		c.coordinators = append(c.coordinators, ch)
	}
	return nil
}

// startCoordinator starts a coordinator at its address, on what an earlier process left in its directory.
func (c *cluster) startCoordinator(i int) (*child, error) {
	name := fmt.Sprintf("coordinator-%d", i)
	args := []string{"coordinator", "--data-dir", filepath.Join(c.dir, name), "--bind", c.addresses[i],
		"--peers", strings.Join(c.addresses, ","), "--token-file", c.tokenFile}
	if c.heartbeat > 0 {
		args = append(args, "--raft-heartbeat", c.heartbeat.String())
	}
	return c.start(name, args...)
}

// startWorker starts the next worker, with further flags if there are any.
func (c *cluster) startWorker(spec job.Spec, flags ...string) (*child, error) {
	ch, err := c.startWorkerAt(len(c.workers), spec, flags...)
	if err == nil {
		c.workers = append(c.workers, ch)
	}
	return ch, err
}

// startWorkerAt starts the worker of an index, on what an earlier process left in its directory.
func (c *cluster) startWorkerAt(i int, spec job.Spec, flags ...string) (*child, error) {
	name := fmt.Sprintf("worker-%d", i)
	args := []string{"worker", "--coordinators", strings.Join(c.addresses, ","), "--device", spec.How.Device, "--isa", spec.What.ISA, "--id", name,
		"--dir", filepath.Join(c.dir, name), "--cache", filepath.Join(c.dir, "cache"), "--token-file", c.tokenFile}
	return c.start(name, append(args, flags...)...)
}

// start runs this program with other arguments, its log in a file, and listens to what it says.
func (c *cluster) start(name string, args ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ch := &child{name: name, done: make(chan struct{}), log: filepath.Join(c.logs, name+".log")}
	logFile, err := os.OpenFile(ch.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer logFile.Close() // the child has its own descriptor
	if args = append(args, "--supervised"); c.troubled {
		args = append(args, "--troubled")
	}
	ch.cmd = exec.Command(exe, args...)
	ch.cmd.Stderr = logFile
	// A group of its own: Ctrl-C is for the parent, which then stops its children in order.
	ch.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if ch.stdin, err = ch.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := ch.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := ch.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go c.listen(ch, stdout)
	return ch, nil
}

func (c *cluster) listen(ch *child, stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		h := heard{from: ch, at: time.Now()}
		if json.Unmarshal(lines.Bytes(), &h.event) == nil {
			c.tell(h)
		}
	}
	// How it ended shows in the log; a fault's SIGKILL is expected.
	_ = ch.cmd.Wait()
	close(ch.done)
	c.tell(heard{from: ch, at: time.Now(), ended: true})
}

func (c *cluster) tell(h heard) {
	select {
	case c.heard <- h:
	case <-c.quit:
	}
}

// say sends a line to a child; one that has ended does not hear it.
func (ch *child) say(line string) {
	// The child's end is reported by listen.
	_, _ = io.WriteString(ch.stdin, line+"\n")
}

func (ch *child) alive() bool {
	select {
	case <-ch.done:
		return false
	default:
		return true
	}
}

func (ch *child) signal(s syscall.Signal) error { return ch.cmd.Process.Signal(s) }

// stopLimit bounds how long a child may take to end by itself.
const stopLimit = 10 * time.Second

// stop ends all processes, workers first, waits for them and removes the scratch directory.
func (c *cluster) stop() error {
	close(c.quit)
	for _, group := range [][]*child{c.workers, c.coordinators} {
		var all sync.WaitGroup
		for _, ch := range group {
			all.Go(ch.stop)
		}
		all.Wait()
	}
	return os.RemoveAll(c.dir)
}

func (ch *child) stop() {
	if ch.alive() {
		_ = ch.signal(syscall.SIGCONT) // it may be paused
	}
	ch.say("stop")
	select {
	case <-ch.done:
	case <-time.After(stopLimit):
		ch.stubborn = true
		_ = ch.signal(syscall.SIGKILL)
		<-ch.done
	}
}

// freePorts finds n free loopback ports.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // after all have been found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tail is the end of a child's log, for an error message.
func (ch *child) tail() string {
	b, err := os.ReadFile(ch.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

var errChildEnded = errors.New("ended unexpectedly")

// waitFor polls until ok, an error, or the bound: only for what has no event, while a cluster starts.
func waitFor(ctx context.Context, bound time.Duration, what string, ok func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ok(ctx)
		if done || err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, bound, context.Cause(ctx))
		}
	}
}
