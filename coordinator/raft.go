package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

func (c *Coordinator) raftConfig(logger hclog.Logger) *raft.Config {
	r := raft.DefaultConfig()
	r.LocalID = raft.ServerID(c.disk.id)
	r.HeartbeatTimeout, r.ElectionTimeout = c.cfg.Raft.Heartbeat, c.cfg.Raft.Election
	r.LeaderLeaseTimeout, r.CommitTimeout = c.cfg.Raft.Lease, c.cfg.Raft.Commit
	r.SnapshotThreshold, r.TrailingLogs = c.cfg.Raft.Snapshot, c.cfg.Raft.Snapshot
	r.SnapshotInterval = 30 * time.Second
	r.Logger = logger
	// A node that was removed stays up and says so, rather than vanish.
	r.ShutdownOnRemove = false
	return r
}

// errNotLeader: this node does not lead (any more); whether a proposal was taken is not known.
var errNotLeader = errors.New("this coordinator does not lead")

// outcome is what became of one proposal that was committed.
type outcome struct {
	state.Result
	err error // the state refused it
}

// propose puts commands into the log, in order, and waits until they are applied here.
func (c *Coordinator) propose(cmds ...*logpb.Command) ([]outcome, error) {
	var futures []raft.ApplyFuture
	for _, cmd := range cmds {
		if cmd.TimeMs == 0 {
			cmd.TimeMs = c.cfg.Now().UnixMilli()
		}
		entry, err := state.Encode(cmd)
		if err != nil {
			return nil, err
		}
		futures = append(futures, c.raft.Apply(entry, time.Second))
	}
	var out []outcome
	for _, f := range futures {
		if err := f.Error(); err != nil {
			return out, fmt.Errorf("%w: %w", errNotLeader, err)
		}
		a := f.Response().(applied)
		out = append(out, outcome{a.result, a.err})
	}
	return out, nil
}

// proposeOne is propose for one command; the state's refusal is the error.
func (c *Coordinator) proposeOne(cmd *logpb.Command) (state.Result, error) {
	out, err := c.propose(cmd)
	if err != nil {
		return state.Result{}, err
	}
	return out[0].Result, out[0].err
}

// configuration lists the nodes of the cluster, as far as this node knows.
func (c *Coordinator) configuration() []raft.Server {
	f := c.raft.GetConfiguration()
	if f.Error() != nil { // it never fails
		return nil
	}
	return f.Configuration().Servers
}

// raftLogger passes Raft's messages on: what it calls an error is a warning here (a peer that is down, most often), the rest is for debugging.
func raftLogger(log *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: lines{log}, Level: hclog.Info, DisableTime: true})
}

type lines struct{ log *slog.Logger }

func (l lines) Write(b []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(b, []byte("[ERROR]")) {
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "raft: "+string(bytes.TrimSpace(b)))
	return len(b), nil
}
