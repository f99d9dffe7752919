package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// How a cluster comes about, and how a node gets into one.
//
// A node with an empty directory makes up a random id and knows nobody. Started with peers, it asks all of them what they are:
//
//   - If one of them is part of a cluster that lists this node's id, it waits: the leader will contact it.
//   - If one of them is part of a cluster without its id, this node has come back empty, or late. It is a new node and asks to
//     be admitted. It can harm nobody meanwhile: Raft connections name the id that they want.
//   - If all of them have answered, all are empty and were told the same peers, the one with the lowest address founds the
//     cluster of all their ids. Nobody else ever does, so there is one founder; and it founds nothing while one of the others may
//     remember something. This is why the very first start needs all of the initial peers.
//
// Started with join, it asks to be admitted. A node whose directory is not empty needs none of this, unless its address has
// changed: it then asks to be admitted under the new one, with its old id and vote.

const assembleEvery = 200 * time.Millisecond

func (c *Coordinator) assemble() {
	last := ""
	for {
		done, err := c.assembleOnce()
		if done {
			return
		}
		if err != nil && err.Error() != last && c.ctx.Err() == nil {
			last = err.Error()
			c.cfg.Log.Info("waiting for the cluster", "reason", err)
		}
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(assembleEvery):
		}
	}
}

func (c *Coordinator) assembleOnce() (done bool, err error) {
	if servers := c.configuration(); len(servers) > 0 {
		i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == c.disk.id })
		switch {
		case i < 0:
			c.cfg.Log.Warn("this coordinator has been removed from its cluster", "id", c.disk.id)
			return true, nil
		case servers[i].Suffrage == raft.Voter && string(servers[i].Address) == c.addr:
			return true, nil
		}
		return false, c.join() // it has no vote yet, or has moved to another address
	}
	if len(c.cfg.Join) > 0 {
		return false, c.join()
	}
	answers := map[string]*rpcpb.ClusterResponse{}
	var missing []error
	for _, a := range c.cfg.Peers {
		if a == c.addr {
			continue
		}
		r, err := c.ask.ClusterAt(c.ctx, a)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		answers[a] = r
		if r.Member {
			return false, c.enter(r)
		}
	}
	if len(missing) > 0 {
		return false, errors.Join(missing...)
	}
	return false, c.found(answers)
}

// enter: there is a cluster already.
func (c *Coordinator) enter(r *rpcpb.ClusterResponse) error {
	if slices.ContainsFunc(r.Coordinators, func(i *rpcpb.CoordinatorInfo) bool { return i.Id == c.disk.id }) {
		return nil
	}
	return c.join()
}

func (c *Coordinator) join() error { return c.ask.AddCoordinator(c.ctx, c.disk.id, c.addr) }

// found makes the cluster, if that is this node's to do.
func (c *Coordinator) found(answers map[string]*rpcpb.ClusterResponse) error {
	mine := slices.Sorted(slices.Values(c.cfg.Peers))
	servers := []raft.Server{{ID: raft.ServerID(c.disk.id), Address: raft.ServerAddress(c.addr)}}
	for a, r := range answers {
		if theirs := slices.Sorted(slices.Values(r.Peers)); !slices.Equal(mine, theirs) {
			return fmt.Errorf("coordinator %s was started with peers %v, this one with %v", a, theirs, mine)
		}
		servers = append(servers, raft.Server{ID: raft.ServerID(r.SelfId), Address: raft.ServerAddress(a)})
	}
	if len(mine) > 0 && mine[0] != c.addr {
		return fmt.Errorf("all peers are here; %s founds the cluster", mine[0])
	}
	slices.SortFunc(servers, func(a, b raft.Server) int { return cmp.Compare(a.Address, b.Address) })
	if err := c.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		return fmt.Errorf("found cluster: %w", err)
	}
	c.cfg.Log.Info("founded the cluster", "coordinators", len(servers))
	return nil
}

// admit is the leader's part of a join: the old entry of the address, or of the id, goes; the new node first only listens, and gets its vote when it has caught up.
func (c *Coordinator) admit(ctx context.Context, id, addr string) error {
	if r, err := c.ask.ClusterAt(ctx, addr); err != nil {
		return fmt.Errorf("admit coordinator %s: it must answer at its address: %w", addr, err)
	} else if r.SelfId != id {
		return fmt.Errorf("admit coordinator %s: %w: it is %s, not %s", addr, errWrongNode, r.SelfId, id)
	}
	here := false
	for _, s := range c.configuration() {
		switch {
		case string(s.ID) == id && string(s.Address) == addr:
			here = true
			if s.Suffrage == raft.Voter {
				return nil
			}
		case string(s.Address) == addr, string(s.ID) == id:
			// Another node was here, or this one was elsewhere. An entry is replaced, never changed: Raft's replication to a peer reads its
			// address without a lock.
			if err := c.raft.RemoveServer(s.ID, 0, membershipTimeout).Error(); err != nil {
				return fmt.Errorf("%w: remove coordinator %s: %w", errNotLeader, s.ID, err)
			}
			c.cfg.Log.Info("removed a coordinator that has lost its directory or has moved", "id", s.ID, "address", s.Address)
		}
	}
	if !here {
		if err := c.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, membershipTimeout).Error(); err != nil {
			return fmt.Errorf("%w: add coordinator %s: %w", errNotLeader, addr, err)
		}
	}
	if err := c.caughtUp(ctx, addr, c.raft.CommitIndex()); err != nil {
		return err
	}
	if err := c.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, membershipTimeout).Error(); err != nil {
		return fmt.Errorf("%w: give coordinator %s its vote: %w", errNotLeader, addr, err)
	}
	c.cfg.Log.Info("admitted a coordinator", "id", id, "address", addr)
	return nil
}

// remove is the leader's part of taking a node out that will not come back: until then it counts in every majority. A node that answers would
// ask to be admitted again.
func (c *Coordinator) remove(ctx context.Context, addr string) error {
	servers := c.configuration()
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.Address) == addr })
	if at < 0 {
		var known []string
		for _, s := range servers {
			known = append(known, string(s.Address))
		}
		return fmt.Errorf("%w: the coordinators are %s", state.ErrNotFound, strings.Join(known, ", "))
	}
	if _, err := c.ask.ClusterAt(ctx, addr); err == nil {
		return fmt.Errorf("%w: it answers; stop it first", state.ErrState)
	}
	if err := c.raft.RemoveServer(servers[at].ID, 0, membershipTimeout).Error(); err != nil {
		return fmt.Errorf("%w: remove coordinator %s: %w", errNotLeader, addr, err)
	}
	c.cfg.Log.Info("removed a coordinator", "id", servers[at].ID, "address", addr)
	return nil
}

const membershipTimeout = 2 * time.Second

// caughtUp waits until the node has applied the log up to index.
func (c *Coordinator) caughtUp(ctx context.Context, addr string, index uint64) error {
	for {
		r, err := c.ask.ClusterAt(ctx, addr)
		if err == nil && r.AppliedIndex >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("admit coordinator %s: it has not caught up yet: %w", addr, ctx.Err())
		case <-c.ctx.Done():
			return errNotLeader
		case <-time.After(50 * time.Millisecond):
		}
	}
}
