package worker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
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
	spec    job.Spec
	invalid error                   // why spec is none
	leave   context.CancelCauseFunc // ends it at once
	group   *allreduce.Group
	saver   *saver
	stands  atomic.Bool   // the ring stands: what is wanted is agreed on through it
	wanted  atomic.Uint32 // flags that the leader asked for, raised in the next trailer
	wishes  []exact.Flag  // flags that this member raises in the present step
	trailer *exact.Trailer
	rate    rate
	paces   []float64 // seconds a shard, by rank: moving averages

	evaluating atomic.Bool
}

func newGeneration(a *agent, as *rpcpb.Assign, rank ringleader.Rank, leave context.CancelCauseFunc) *generation {
	g := &generation{agent: a, assign: as, rank: rank, size: len(as.Members), leave: leave}
	g.spec, g.invalid = job.FromCanonical(as.Spec)
	for _, s := range as.Members[rank].Shards {
		g.shards = append(g.shards, ringleader.Shard(s))
	}
	return g
}

// outcome says how a generation ended for this worker.
type outcome struct {
	job        ringleader.JobID
	generation ringleader.Generation
	step       ringleader.Step // of the state held; noState if there is none
	planned    bool
	culprit    ringleader.WorkerID // whom a fault is blamed on; empty if nobody
	hung       bool                // the culprit's beat stood still: it may be connected all the same
	how        string
	dispute    *rpcpb.Dispute // what this member has seen of unlike states, if nobody can tell whose is right
	failed     error          // the job itself cannot go on
	broken     error          // a *DeviceError: the process has to end
}

// run lives through the generation.
func (g *generation) run(ctx context.Context) (out outcome) {
	out = outcome{job: ringleader.JobID(g.assign.JobId), generation: ringleader.Generation(g.assign.Generation), step: noState}
	err := g.live(ctx)
	if errors.Is(err, errCancelled) {
		err = nil // all members have agreed on it
	}
	if fault := (*allreduce.Fault)(nil); errors.As(err, &fault) && g.replica != nil && slices.Contains(fault.Doubted, g.rank) {
		// Most agree that this one is wrong: it will get their state, and must not hand on its own. If nobody can tell who is
		// wrong, all forget, and the newest checkpoint counts. Whoever noticed ends the ring: the others may know of it only from there.
		g.replica.forget()
	}
	if err != nil && g.replica != nil {
		if broken := g.replica.check(); broken != nil {
			if !errors.Is(err, broken) {
				err = g.own(broken)
			}
			out.broken = &DeviceError{g.agent.cfg.Device.Name(), broken}
		}
	}
	if g.group != nil {
		g.group.Close(err) // nil is the planned end
	}
	g.saver.close()
	if g.replica != nil {
		out.step = g.replica.at()
	}
	out.planned = err == nil
	out.explain(ctx, g, err)
	return out
}

// grpcFrame is what gRPC puts around what it was told. People read how a generation ended.
var grpcFrame = regexp.MustCompile(`rpc error: code = \w+ desc = `)

// explain says why the generation ended, if it was not by plan.
func (o *outcome) explain(ctx context.Context, g *generation, err error) {
	fault := (*allreduce.Fault)(nil)
	if d := (*dispute)(nil); errors.As(err, &d) {
		o.dispute = &rpcpb.Dispute{Step: int64(d.step), Digests: d.digests()}
	}
	switch {
	case err == nil:
		return
	case ctx.Err() != nil:
		o.how = context.Cause(ctx).Error() // it was told to end: whatever that broke, nobody is to blame
		return
	case isJobError(err):
		o.failed = err
	case errors.As(err, &fault) && fault.HasCulprit && len(fault.Doubted) < g.size: // if all are in doubt, whoever is named first is not to stay out for it
		o.culprit, o.hung = ringleader.WorkerID(g.assign.Members[fault.Culprit].WorkerId), fault.Hung
	}
	o.how = grpcFrame.ReplaceAllString(err.Error(), "")
}

// own makes an error of this member's own known to the others as such: if it meets the error again and again, they can go on without it.
func (g *generation) own(err error) error {
	if err = g.alone(err); isJobError(err) || errors.As(err, new(*allreduce.Fault)) {
		return err
	}
	return &allreduce.Fault{Culprit: g.rank, HasCulprit: true, How: "gave up", Err: err}
}

// live returns nil after a planned end.
func (g *generation) live(ctx context.Context) (err error) {
	if g.invalid != nil {
		return &jobError{g.invalid}
	}
	if g.replica, err = g.agent.replicaFor(ctx, ringleader.JobID(g.assign.JobId), g.spec); err != nil {
		return g.alone(err)
	}
	r := g.replica
	if err := g.obtainState(ctx); err != nil {
		return err
	}
	if err := g.assemble(ctx); err != nil {
		return err
	}
	g.trailer = r.NewTrailer(g.size)
	g.stands.Store(true)
	g.agent.cfg.Observer.Joined(g.membership())
	for r.step < g.last() {
		report, err := g.step(ctx)
		if isJobError(err) {
			err = g.failing(err)
		}
		if err != nil {
			return err
		}
		g.agent.cfg.Observer.Completed(ctx, report)
		g.progress(report)
		if err := g.evaluate(); err != nil {
			return err
		}
		if done, err := g.act(); done || err != nil {
			return err
		}
	}
	return g.saver.final()
}

// failing makes the state before a step that no member can apply the job's last checkpoint: all have found the same in the same sum. It returns the
// error, and what came of that.
func (g *generation) failing(err error) error {
	step := g.replica.step
	if step == 0 {
		return err // that is where the job began
	}
	if lost := g.saver.keep(); lost != nil {
		return &jobError{fmt.Errorf("%w; the state at step %d could not be stored: %w", err, step, lost)}
	}
	return &jobError{fmt.Errorf("%w; the state at step %d is kept", err, step)}
}

// last is the step after which the job ends: its own end, or where "how" stops it.
func (g *generation) last() ringleader.Step {
	if stop := ringleader.Step(g.spec.How.StopAt); stop > 0 {
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

var errNotYet = errors.New("asked to leave before the ring stood")

// wantAway asks to leave: after the next step, with all others; or at once if there is no ring yet in which to agree on it.
func (g *generation) wantAway(f exact.Flag) {
	g.want(f)
	if !g.stands.Load() {
		g.leave(errNotYet)
	}
}

// drain is the worker's own wish to leave.
func (g *generation) drain() {
	g.want(exact.FlagDrain)
	g.wantAway(exact.FlagRegroup)
}

// change is the leader's wish for what all members do after the next step.
func (g *generation) change(action rpcpb.ChangeAction) {
	switch action {
	case rpcpb.ChangeAction_CHANGE_ACTION_REGROUP:
		g.wantAway(exact.FlagRegroup)
	case rpcpb.ChangeAction_CHANGE_ACTION_PAUSE:
		g.want(exact.FlagPause)
	case rpcpb.ChangeAction_CHANGE_ACTION_CANCEL:
		g.wantAway(exact.FlagCancel)
		g.saver.hurry()
	case rpcpb.ChangeAction_CHANGE_ACTION_CHECKPOINT:
		g.want(exact.FlagCheckpoint)
	default:
		g.agent.cfg.Log.Warn("change ignored: unknown action", "job", g.assign.JobId, "action", action)
	}
}

// takeWishes is what this member wants all members to do after the step: the flags of its trailer.
func (g *generation) takeWishes() (wishes []exact.Flag) {
	wanted := g.wanted.And(^uint32(1 << exact.FlagCheckpoint)) // that one once, not after every step
	for f := exact.Flag(0); wanted != 0; f, wanted = f+1, wanted>>1 {
		if wanted&1 != 0 {
			wishes = append(wishes, f)
		}
	}
	every := ringleader.Step(g.spec.How.Checkpoint.Every)
	if next := g.replica.step + 1; g.rank == 0 && every > 0 && next%every == 0 && next < g.last() {
		if g.saver.busy() {
			g.saver.report(next, stillWriting, kindPeriodic) // once, and not by every member
		} else {
			wishes = append(wishes, exact.FlagCheckpoint)
		}
	}
	return wishes
}

// act does what the trailer of the step just completed asks for. All members see the same flags, so all act after the same step.
func (g *generation) act() (done bool, err error) {
	switch tr := g.trailer; {
	case tr.Raised(exact.FlagCancel):
		return true, nil
	case tr.Raised(exact.FlagPause), tr.Count(exact.FlagDrain) == int64(g.size): // if all are to stop, nobody will hold the state
		return true, g.saver.durable()
	case tr.Raised(exact.FlagCheckpoint) && tr.Raised(exact.FlagRegroup):
		g.saver.lost(g.replica.step) // it would hardly be begun
	case tr.Raised(exact.FlagCheckpoint):
		if err := g.saver.begin(); err != nil {
			return false, err
		}
	}
	return g.trailer.Raised(exact.FlagRegroup), nil
}

// progress tells the leader about a completed step; rank 0 speaks for all.
func (g *generation) progress(s StepReport) {
	g.agent.setStep(s.Step)
	if g.rank != 0 {
		return
	}
	users, tokens := g.rate.add(s)
	g.addPaces()
	g.agent.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Progress{Progress: &rpcpb.Progress{
		JobId:        g.assign.JobId,
		Generation:   g.assign.Generation,
		Step:         int64(s.Step),
		Loss:         s.Loss,
		Users:        g.replica.scalars.Users,
		Tokens:       g.replica.scalars.Tokens,
		StepSeconds:  s.Seconds,
		TimeMs:       time.Now().UnixMilli(),
		UsersPerS:    users,
		TokensPerS:   tokens,
		ShardSeconds: slices.Clone(g.paces),
	}}})
}

func (g *generation) addPaces() {
	const keep = 0.9
	first := g.paces == nil
	if first {
		g.paces = make([]float64, g.size)
	}
	for r := range g.paces {
		if x := g.trailer.Pace(ringleader.Rank(r)).Seconds(); first {
			g.paces[r] = x
		} else {
			g.paces[r] = keep*g.paces[r] + (1-keep)*x
		}
	}
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
