package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// generation is this worker's part in one membership of a gang: it gets the state, links up with its neighbours, and steps until
// something ends it. It never survives its first error.
type generation struct {
	agent   *agent
	assign  *rpcpb.Assign
	replica *replica
	rank    ringleader.Rank
	size    int
	shards  []ringleader.Shard
	group   *allreduce.Group
	saver   *saver
	wanted  atomic.Uint32 // flags that the leader asked for, raised in the next trailer
	sums    []int64
	floats  []float32
	rate    rate

	evaluating atomic.Bool
}

// outcome says how a generation ended for this worker.
type outcome struct {
	job        ringleader.JobID
	generation ringleader.Generation
	step       ringleader.Step // of the state held; noState if there is none
	planned    bool
	finished   bool                // the job has ended and its last checkpoint is committed
	culprit    ringleader.WorkerID // whom a fault is blamed on; empty if nobody
	hung       bool                // the culprit's beat stood still: it may be connected all the same
	how        string
	failed     error // the job itself cannot go on
}

// run lives through the generation.
func (g *generation) run(ctx context.Context) (out outcome) {
	out = outcome{job: ringleader.JobID(g.assign.JobId), generation: ringleader.Generation(g.assign.Generation), step: noState}
	err := g.live(ctx, &out)
	if g.replica != nil {
		out.step = g.replica.at()
	}
	if g.group != nil {
		cause := err
		if cause == nil {
			cause = allreduce.ErrPlanned
		}
		g.group.Close(cause)
	}
	g.saver.close()
	switch fault := (*allreduce.Fault)(nil); {
	case err == nil:
	case isJobError(err):
		out.failed = err
	case errors.As(err, &fault) && fault.HasCulprit:
		out.culprit, out.hung, out.how = ringleader.WorkerID(g.assign.Members[fault.Culprit].WorkerId), fault.Hung, fault.Error()
	default:
		out.how = err.Error()
	}
	return out
}

// live returns nil after a planned end.
func (g *generation) live(ctx context.Context, out *outcome) (err error) {
	if g.replica, err = g.agent.replicaFor(ctx, g.assign); err != nil {
		return err
	}
	r := g.replica
	if err := g.obtainState(ctx); err != nil {
		return err
	}
	if err := g.assemble(ctx); err != nil {
		return err
	}
	if r.exact() {
		g.sums = make([]int64, r.model.Size())
	} else {
		g.floats = make([]float32, r.model.Size())
	}
	g.agent.cfg.Observer.Joined(g.membership())
	for r.step < g.last() {
		tr, report, err := g.step(ctx)
		if err != nil {
			return err
		}
		g.agent.cfg.Observer.Completed(ctx, report)
		g.progress(report)
		if err := g.evaluate(); err != nil {
			return err
		}
		if done, err := g.act(tr); done || err != nil {
			out.planned = done
			return err
		}
	}
	if err := g.saver.final(); err != nil {
		return err
	}
	out.planned, out.finished = true, true
	return nil
}

// last is the step after which the job ends: its own end, or where "how" stops it.
func (g *generation) last() ringleader.Step {
	if stop := ringleader.Step(g.replica.spec.How.StopAt); stop > 0 {
		return min(stop, g.replica.steps)
	}
	return g.replica.steps
}

func (g *generation) membership() Membership {
	return Membership{
		Job:        ringleader.JobID(g.assign.JobId),
		Generation: ringleader.Generation(g.assign.Generation),
		Rank:       g.rank,
		Size:       g.size,
		Step:       ringleader.Step(g.assign.ResumeStep),
	}
}

// want asks for a flag in the next trailer.
func (g *generation) want(f exact.Flag) { g.wanted.Or(1 << f) }

// change is the leader's wish for what all members do after the next step.
func (g *generation) change(action rpcpb.ChangeAction) {
	switch action {
	case rpcpb.ChangeAction_CHANGE_ACTION_REGROUP:
		g.want(exact.FlagRegroup)
	case rpcpb.ChangeAction_CHANGE_ACTION_PAUSE:
		g.want(exact.FlagPause)
	case rpcpb.ChangeAction_CHANGE_ACTION_CANCEL:
		g.want(exact.FlagCancel)
	case rpcpb.ChangeAction_CHANGE_ACTION_CHECKPOINT:
		g.want(exact.FlagCheckpoint)
	default:
		g.agent.cfg.Log.Warn("change ignored: unknown action", "job", g.assign.JobId, "action", action)
	}
}

// raiseFlags puts what this member wants all members to do after the step into the trailer.
func (g *generation) raiseFlags(tr *exact.Trailer) {
	wanted := g.wanted.Load()
	for f := exact.Flag(0); wanted != 0; f, wanted = f+1, wanted>>1 {
		if wanted&1 != 0 {
			tr.Raise(f)
		}
	}
	g.wanted.And(^uint32(1 << exact.FlagCheckpoint)) // once, not after every step
	every := ringleader.Step(g.replica.spec.How.Checkpoint.Every)
	if next := g.replica.step + 1; g.rank == 0 && every > 0 && next%every == 0 && next < g.last() {
		if g.saver.busy() {
			g.saver.report(next, stillWriting, kindPeriodic) // once, and not by every member
		} else {
			tr.Raise(exact.FlagCheckpoint)
		}
	}
}

// act does what the trailer of the step just completed asks for. All members see the same flags, so all act after the same step.
func (g *generation) act(tr *exact.Trailer) (done bool, err error) {
	switch {
	case tr.Raised(exact.FlagCancel):
		return true, nil
	case tr.Raised(exact.FlagPause):
		return true, g.saver.durable()
	case tr.Raised(exact.FlagCheckpoint):
		if err := g.saver.begin(); err != nil {
			return false, err
		}
	}
	return tr.Raised(exact.FlagRegroup), nil
}

// obtainState makes sure that the replica holds the state at the generation's first step.
func (g *generation) obtainState(ctx context.Context) error {
	r, want := g.replica, ringleader.Step(g.assign.ResumeStep)
	if r.at() == want {
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
	return r.initialise()
}

// assemble links up with both neighbours and checks that all members start from the same state.
func (g *generation) assemble(ctx context.Context) error {
	cfg := allreduce.DefaultConfig()
	cfg.Job = jobTag(g.assign.JobId)
	cfg.Generation = ringleader.Generation(g.assign.Generation)
	cfg.Rank, cfg.Size = g.rank, g.size
	cfg.Hang = time.Duration(g.replica.spec.How.Deadlines.Hang)
	cfg.Beat = &g.agent.beat
	next, prev, err := g.links(ctx, time.Duration(g.replica.spec.How.Deadlines.Assemble))
	if err != nil {
		return err
	}
	if g.group, err = allreduce.NewGroup(cfg, next, prev); err != nil {
		return err
	}
	tr := exact.NewTrailer(g.size, g.replica.spec.What.Shards, 0)
	tr.SetDigest(g.rank, g.replica.stateDigest())
	if err := tr.Seal(); err != nil {
		return err
	}
	if err := g.group.SumInt64(ctx, g.replica.step, greetingBucket, tr.Lanes()); err != nil {
		return err
	}
	if err := tr.Check(); err != nil {
		return err
	}
	return g.verify(tr)
}

// links dials the next member and accepts the previous one.
func (g *generation) links(ctx context.Context, bound time.Duration) (next, prev allreduce.Link, err error) {
	if g.size == 1 {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	hello := grpclink.Hello{Job: jobTag(g.assign.JobId), Generation: ringleader.Generation(g.assign.Generation), From: g.rank}
	n := ringleader.Rank(g.size)
	var both errgroup.Group
	both.Go(func() error {
		to := g.assign.Members[(g.rank+1)%n]
		conn, err := g.agent.peers.conn(to.Address)
		if err == nil {
			next, err = grpclink.Dial(ctx, conn, hello)
		}
		if err != nil {
			return &allreduce.Fault{Culprit: (g.rank + 1) % n, HasCulprit: true, How: "cannot be reached", Err: err}
		}
		return nil
	})
	both.Go(func() error {
		from := (g.rank - 1 + n) % n
		var err error
		if prev, err = g.agent.links.Accept(ctx, hello.Job, hello.Generation, from); err != nil {
			return &allreduce.Fault{Culprit: from, HasCulprit: true, How: "did not link up", Err: err}
		}
		return nil
	})
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

// progress tells the leader about a completed step; rank 0 speaks for all.
func (g *generation) progress(s StepReport) {
	g.agent.setStep(s.Step)
	if g.rank != 0 {
		return
	}
	users, tokens := g.rate.add(s)
	g.agent.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Progress{Progress: &rpcpb.Progress{
		JobId:       g.assign.JobId,
		Generation:  g.assign.Generation,
		Step:        int64(s.Step),
		Loss:        s.Loss,
		Users:       g.replica.scalars.Users,
		Tokens:      g.replica.scalars.Tokens,
		StepSeconds: s.Seconds,
		TimeMs:      time.Now().UnixMilli(),
		UsersPerS:   users,
		TokensPerS:  tokens,
	}}})
}

// rate is a moving average of throughput, by time and not by step: short steps must not drown long ones.
type rate struct{ users, tokens, seconds float64 }

func (r *rate) add(s StepReport) (usersPerS, tokensPerS float64) {
	const keep = 0.9
	r.users = keep*r.users + float64(s.Users)
	r.tokens = keep*r.tokens + float64(s.Tokens)
	r.seconds = keep*r.seconds + s.Seconds
	if r.seconds == 0 {
		return 0, 0 // a clock that stands still: fake time
	}
	return r.users / r.seconds, r.tokens / r.seconds
}

// jobTag names a job in the frames of a ring.
func jobTag(id string) ringleader.Digest { return ringleader.Digest(xxhash.Sum64String(id)) }
