package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// victim is the process that a fault is aimed at.
func (r *localRun) victim(ctx context.Context, f fault) (*child, error) {
	if f.on == onWorker {
		return r.cluster.workers[f.worker], nil
	}
	leader := ""
	if err := r.await(ctx, "a leader", func(info *rpcpb.ClusterResponse) bool { leader = info.LeaderAddress; return true }); err != nil {
		return nil, fmt.Errorf("find the leader: %w", err)
	}
	i := slices.Index(r.cluster.addresses, leader)
	if i < 0 {
		return nil, fmt.Errorf("find the leader: %q is none of the coordinators", leader)
	}
	return r.cluster.coordinators[i], nil
}

// part cuts a coordinator off from the others for a time: each holds the connections that it has dialed to the other side.
func (r *localRun) part(victim *child, length time.Duration) {
	i := slices.Index(r.cluster.coordinators, victim)
	all, at := slices.Clone(r.cluster.coordinators), r.cluster.addresses[i]
	others := strings.Join(slices.Delete(slices.Clone(r.cluster.addresses), i, i+1), ",")
	say := func(order string) {
		for j, c := range all {
			if j == i {
				c.say(order + " " + others)
			} else {
				c.say(order + " " + at)
			}
		}
	}
	say(orderPart)
	// Whatever this goroutine is busy with then. One that was restarted meanwhile has parted from nobody.
	time.AfterFunc(length, func() { say(orderMend) })
}

// rollPause is between two coordinators of a rolling restart: the next one waits until there is a leader, and the first has begun to catch up.
const rollPause = time.Second

// roll restarts the next coordinator of a rolling restart, and sees to it that the others follow. Training goes on meanwhile.
func (r *localRun) roll(ctx context.Context) error {
	if r.rollOn = nil; len(r.rolling) == 0 {
		return nil
	}
	if err := r.await(ctx, "a leader", func(*rpcpb.ClusterResponse) bool { return true }); err != nil {
		return err
	}
	i := slices.Index(r.cluster.addresses, r.rolling[0])
	r.rolling, r.rollOn = r.rolling[1:], time.After(rollPause)
	if err := r.cluster.coordinators[i].kill(); err != nil {
		return err
	}
	return r.replace(r.cluster.coordinators[i])
}

// lose takes a coordinator's disk away, and waits until the empty process in its place is a member like the others: until then the cluster
// cannot lose another.
func (r *localRun) lose(ctx context.Context, victim *child) error {
	i := slices.Index(r.cluster.coordinators, victim)
	old := ""
	at := func(info *rpcpb.ClusterResponse) string {
		for _, c := range info.Coordinators {
			if c.Address == r.cluster.addresses[i] && c.Voter {
				return c.Id
			}
		}
		return ""
	}
	if err := r.await(ctx, "a leader", func(info *rpcpb.ClusterResponse) bool { old = at(info); return old != "" }); err != nil {
		return err
	}
	if err := victim.kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(r.cluster.dir, victim.name)); err != nil {
		return err
	}
	if err := r.replace(victim); err != nil {
		return err
	}
	return r.await(ctx, "the coordinator without a disk is a new member", func(info *rpcpb.ClusterResponse) bool {
		id := at(info)
		return id != "" && id != old && len(info.Coordinators) == len(r.cluster.addresses)
	})
}

// await waits until a leader shows the cluster as it should be.
func (r *localRun) await(ctx context.Context, what string, ok func(*rpcpb.ClusterResponse) bool) error {
	return waitFor(ctx, startLimit, what, func(ctx context.Context) (bool, error) {
		info, err := r.client.Cluster(ctx)
		return err == nil && ok(info), nil // without an answer: the fault before may have been aimed at the leader, too
	})
}
