package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
)

// obtainState makes sure that the replica holds the state at the generation's first step. What a member holds itself counts only if the
// leader counts it among the holders: a state of the same step may be of a past that the job has left.
func (g *generation) obtainState(ctx context.Context) error {
	r, want := g.replica, ringleader.Step(g.assign.ResumeStep)
	if slices.Contains(g.assign.Holders, int32(g.rank)) && r.at() == want {
		return nil
	}
	if len(g.assign.Holders) > 0 {
		return g.fetchFromHolders(ctx, want)
	}
	if g.assign.ResumeUrl != "" {
		return g.agent.loadCheckpoint(ctx, r, g.assign)
	}
	if want != 0 {
		return fmt.Errorf("generation %d resumes at step %d without a source for its state", g.assign.Generation, want)
	}
	return r.Initialise()
}

// assemble links up with both neighbours and checks that all members start from the same state.
func (g *generation) assemble(ctx context.Context) error {
	how := g.spec.How.Deadlines
	cfg := allreduce.DefaultConfig()
	cfg.Job = jobTag(g.assign.JobId)
	cfg.Generation = ringleader.Generation(g.assign.Generation)
	cfg.Rank, cfg.Size = g.rank, g.size
	cfg.Hang = time.Duration(how.Hang)
	cfg.Assemble = max(time.Duration(how.Assemble), cfg.Hang)
	cfg.Beat = &g.agent.beat
	next, prev, err := g.links(ctx, cfg.Assemble)
	if err != nil {
		return err
	}
	if g.group, err = allreduce.NewGroup(cfg, next, prev); err != nil {
		return err
	}
	g.replica.Witness(g.size == 2)
	_, err = g.compare(ctx, greetingBucket)
	return err
}

// links dials the next member and accepts the previous one. A member that is gone must not cost the deadline: its refusal of connections
// ends the dialling, and the end of the one link, with its cause, the waiting for the other.
func (g *generation) links(ctx context.Context, bound time.Duration) (next, prev allreduce.Link, err error) {
	if g.size == 1 {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not within %v", bound))
	defer cancel()
	both, ctx := errgroup.WithContext(ctx)
	dialled, accepted := make(chan struct{}), make(chan struct{})
	n := ringleader.Rank(g.size)
	to, from := (g.rank+1)%n, (g.rank-1+n)%n
	both.Go(func() (err error) {
		defer close(dialled)
		if next, err = g.dial(ctx, to); err != nil {
			return &allreduce.Fault{Culprit: to, HasCulprit: true, How: "cannot be reached", Err: err}
		}
		return nil
	})
	both.Go(func() (err error) {
		defer close(accepted)
		if prev, err = g.agent.links.Accept(ctx, jobTag(g.assign.JobId), ringleader.Generation(g.assign.Generation), from); err != nil {
			return &allreduce.Fault{Culprit: from, HasCulprit: true, How: "did not link up", Err: err}
		}
		return nil
	})
	both.Go(func() error { <-dialled; return outlives(ctx, next, to, accepted) })
	both.Go(func() error { <-accepted; return outlives(ctx, prev, from, dialled) })
	if err := both.Wait(); err != nil {
		for _, l := range []allreduce.Link{next, prev} {
			if l != nil {
				// The generation ends with err already.
				_ = l.Close(err)
			}
		}
		return nil, nil, err
	}
	return next, prev, nil
}

// outlives waits for the other link, as long as this one, to rank, stands.
func outlives(ctx context.Context, l allreduce.Link, rank ringleader.Rank, other <-chan struct{}) error {
	if l == nil {
		return nil // whoever failed to make it says why
	}
	select {
	case <-other:
		return nil
	case <-ctx.Done():
		return nil
	case <-l.Done():
	}
	if fault := (*allreduce.Fault)(nil); errors.As(l.Err(), &fault) {
		return fault // the neighbour passes on what it knows
	}
	return &allreduce.Fault{Culprit: rank, HasCulprit: true, How: "left before the ring stood", Err: l.Err()}
}

// dial opens the link to a member, for as long as the connection to it is not refused: members listen before they attach.
func (g *generation) dial(ctx context.Context, to ringleader.Rank) (allreduce.Link, error) {
	conn, err := g.agent.peers.conn(g.assign.Members[to].Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if refused(ctx, conn) {
			cancel(errRefused)
		}
	}()
	defer func() { cancel(nil); <-watched }()
	return grpclink.Dial(ctx, conn, grpclink.Hello{Job: jobTag(g.assign.JobId), Generation: ringleader.Generation(g.assign.Generation), From: g.rank})
}

// jobTag names a job in the frames of a ring.
func jobTag(id string) ringleader.Digest { return ringleader.Digest(xxhash.Sum64String(id)) }

var errRefused = errors.New("it takes no connection")

// refused waits until an attempt to connect fails, or ctx ends.
func refused(ctx context.Context, conn *grpc.ClientConn) bool {
	for {
		state := conn.GetState()
		if state == connectivity.TransientFailure {
			return true
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
