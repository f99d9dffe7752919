// Package coordinator is one node of the control plane: a replicated log (Raft) of what has been decided, a leader that
// decides, and the services that workers and people call. See DESIGN.md for the path of one request, the goroutines and the
// rules that keep two gangs from finishing one job.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/schedule"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
)

// Config is what a coordinator is started with. Begin with DefaultConfig.
type Config struct {
	Bind      string // HOST:PORT to listen on, for everything: services and Raft share the port
	Advertise string // HOST:PORT at which others reach it; empty: Bind, with the port that was bound
	Dir       string // where log and snapshots live; one node at a time

	// Peers is the initial cluster: the advertised addresses of all its coordinators, this one among them. It matters only while
	// Dir is empty. Empty: a cluster of one.
	Peers []string
	// Join are addresses of a running cluster that an empty node asks to be admitted to. It excludes Peers.
	Join []string

	Token    rpcauth.Token // the cluster's secret, for services and Raft alike
	Insecure bool          // allow Bind beyond loopback, where traffic can be read

	Policy    schedule.Policy
	Heartbeat time.Duration // how often workers report
	Tick      time.Duration // how often the leader looks at the clock; events wake it at once
	MarkEvery time.Duration // how often progress goes into the log,
	MarkSteps int64         // or after how many steps
	Raft      Raft

	Log *slog.Logger // nil: nothing is logged

	// Now is the clock of this machine, which may be wrong: nothing that is decided depends on more than how it goes on. nil: time.Now.
	Now func() time.Time
	// Listen and Dial replace TCP, in tests and in clusters within one process. nil: TCP.
	Listen func(addr string) (net.Listener, error)
	Dial   func(ctx context.Context, addr string) (net.Conn, error)
}

// Raft are the timeouts of the log's replication. A leader that is killed is replaced after about twice Heartbeat.
type Raft struct {
	Heartbeat time.Duration // a follower that hears nothing for this long stands for election
	Election  time.Duration // a candidate that is not elected for this long tries again
	Lease     time.Duration // a leader that reaches no majority for this long steps down; at most Heartbeat. Less than that only deposes leaders whom nobody else misses yet
	Commit    time.Duration // at the latest then followers learn what is committed
	Snapshot  uint64        // entries after which the log is compacted
}

// DefaultConfig is what the product ships with; Dir and Token are still missing.
func DefaultConfig() Config {
	return Config{
		Bind:      "127.0.0.1:7600",
		Policy:    schedule.DefaultPolicy(),
		Heartbeat: 500 * time.Millisecond,
		Tick:      100 * time.Millisecond,
		MarkEvery: 10 * time.Second,
		MarkSteps: 100,
		Raft:      Raft{Heartbeat: 200 * time.Millisecond, Election: 200 * time.Millisecond, Lease: 200 * time.Millisecond, Commit: 20 * time.Millisecond, Snapshot: 8192},
	}
}

// Validate returns every problem; each names the field, the value and what is allowed.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := rpcauth.CheckBind("bind", c.Bind, c.Insecure); err != nil {
		errs = append(errs, err)
	}
	if c.Dir == "" {
		bad("dir is empty, want a directory for the log")
	}
	if c.Token == "" {
		bad("token is empty, want the cluster's token")
	}
	for _, a := range slices.Concat(c.Peers, c.Join) {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			bad("peer %q: want HOST:PORT", a)
		}
	}
	if len(c.Peers) > 0 && len(c.Join) > 0 {
		bad("peers %v and join %v: want one of them", c.Peers, c.Join)
	}
	if len(c.Peers) > 0 && !slices.Contains(c.Peers, c.advertise()) {
		bad("peers %v: want this coordinator's own address %s among them", c.Peers, c.advertise())
	}
	if p := slices.Sorted(slices.Values(c.Peers)); len(slices.Compact(p)) != len(c.Peers) {
		bad("peers %v: want no address twice", c.Peers)
	}
	if n := len(c.Peers); n > 7 || n > 0 && n%2 == 0 {
		bad("%d peers, want 1, 3, 5 or 7", n)
	}
	if err := c.Policy.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.Heartbeat <= 0 || 2*c.Heartbeat > c.Policy.WorkerLease {
		bad("heartbeat %v: want more than 0, at most half of the worker lease %v", c.Heartbeat, c.Policy.WorkerLease)
	}
	if c.Tick <= 0 || c.MarkEvery <= 0 || c.MarkSteps <= 0 {
		bad("tick %v, mark every %v or %d steps: want all above 0", c.Tick, c.MarkEvery, c.MarkSteps)
	}
	r := c.Raft
	if r.Heartbeat < 5*time.Millisecond || r.Election < r.Heartbeat || r.Lease < 5*time.Millisecond || r.Lease > r.Heartbeat || r.Commit < time.Millisecond || r.Snapshot == 0 {
		bad("raft timeouts %+v: want heartbeat and lease at least 5ms, election >= heartbeat >= lease, commit at least 1ms, snapshot above 0", r)
	}
	return errors.Join(errs...)
}

func (c Config) advertise() string {
	if c.Advertise != "" {
		return c.Advertise
	}
	return c.Bind
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Listen == nil {
		c.Listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	return c
}
