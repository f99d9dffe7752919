package worker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// agent is one worker process: it owns the stream to the leader, at most one replica, and at most one running generation.
// Its control loop is a single goroutine (run); fields below mu are shared with the training goroutine.
type agent struct {
	cfg         Config
	incarnation string
	links       *grpclink.Server
	peers       *peers
	beat        beat
	attachment  *client.Attachment
	draining    atomic.Bool // told to stop: it wants no new generation

	// Only the control loop touches these.
	newest  *rpcpb.Assign // the newest assignment accepted
	running *generation   // nil between generations
	recent  *generation   // the running one, or the one before
	asked   bool          // the leader wants this worker to drain
	cancel  context.CancelCauseFunc
	ended   chan outcome // of the running generation

	verdict *rpcpb.AttachRequest // why the job failed, until the leader has acted on it

	retired sync.WaitGroup           // deletions of old checkpoints; only the control loop adds to it
	overdue chan map[string][]string // holds, by store, the directories that are still to be deleted; who deletes takes it

	mu      sync.Mutex
	replica *replica       // nil when idle
	opening *opening       // a replica that is being opened ahead of a generation, or nil
	holding *rpcpb.Holding // what Register says
}

// Why the control loop ends a generation.
var (
	errReleased   = errors.New("released by the coordinator")
	errSuperseded = errors.New("superseded by a newer generation")
	errDrained    = fmt.Errorf("told to stop, and the step did not end within %v", drainLimit)
	errStopping   = errors.New("the worker stops")
)

// drainLimit bounds how long a worker that is told to stop waits for the end of its step.
const drainLimit = 30 * time.Second

// run is the control loop.
func (a *agent) run(ctx context.Context, cl *client.Client, served <-chan error) (err error) {
	// The stream and the generation outlive ctx: draining needs both.
	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	a.attachment = cl.Attach(live, a.register, a.beat.Load)
	defer func() {
		// Whatever ended the loop: nothing may train on memory that Run is about to free.
		a.end(errStopping)
		a.stopOpening()
		a.retired.Wait()
		if closing := a.attachment.Close(); err == nil {
			err = closing
		}
	}()

	stopped := ctx.Done()
	var deadline <-chan time.Time
	for {
		select {
		case <-stopped:
			a.asked, stopped = true, nil
		case <-deadline:
			// Not as planned: the others must not wait for what this member still owes them.
			a.cancel(errDrained)
			a.left(<-a.ended)
			return nil
		case err := <-served:
			return fmt.Errorf("serve peers: %w", err)
		case out := <-a.ended:
			a.left(out)
			if out.broken != nil {
				return out.broken
			}
		case e, ok := <-a.attachment.Events():
			if !ok {
				return fmt.Errorf("attach to %v: %w", a.cfg.Coordinators, a.attachment.Err())
			}
			a.hear(live, e, deadline != nil)
		}
		if a.asked && a.running == nil {
			return nil
		}
		if a.asked && deadline == nil {
			a.cfg.Log.Info("draining: leaving after the current step")
			a.draining.Store(true)
			a.running.drain()
			deadline = time.After(drainLimit)
		}
	}
}

func (a *agent) hear(ctx context.Context, e client.Event, draining bool) {
	switch {
	case errors.Is(e.Lost, client.ErrNoLeader):
		a.cfg.Log.Warn("looking for a leader", "error", e.Lost)
	case e.Lost != nil:
		a.cfg.Log.Warn("leader lost", "error", e.Lost)
	case e.Connected != nil:
		a.cfg.Log.Info("attached", "term", e.Connected.Term)
		a.cfg.Observer.Attached()
		if a.verdict != nil {
			a.send(a.verdict)
		}
		if g := a.running; g != nil {
			g.saver.resend()
		}
	case e.Message != nil:
		a.receive(ctx, e.Message, draining)
	}
}

func (a *agent) receive(ctx context.Context, msg *rpcpb.AttachResponse, draining bool) {
	switch m := msg.Message.(type) {
	case *rpcpb.AttachResponse_Assign:
		if !draining {
			a.accept(ctx, m.Assign)
		}
	case *rpcpb.AttachResponse_Prepare:
		if !draining && a.running == nil {
			a.prepare(ctx, m.Prepare)
		}
	case *rpcpb.AttachResponse_Drain:
		a.cfg.Log.Info("a coordinator tells this worker to leave")
		a.asked = true
	case *rpcpb.AttachResponse_Change:
		if g := a.runs(m.Change.JobId); g != nil && g.assign.Generation == m.Change.Generation {
			g.change(m.Change.Action)
			a.cfg.Observer.Asked(m.Change.Action)
		}
	case *rpcpb.AttachResponse_WriteManifest:
		if g := a.runs(m.WriteManifest.JobId); g != nil {
			g.saver.partsComplete(m.WriteManifest)
		}
	case *rpcpb.AttachResponse_Committed:
		// It may have ended already: another member heard first.
		if g := a.recent; g != nil && g.assign.JobId == m.Committed.JobId {
			g.saver.committed(m.Committed)
		}
	case *rpcpb.AttachResponse_CheckpointAbandoned:
		if g := a.runs(m.CheckpointAbandoned.JobId); g != nil {
			g.saver.abandoned(m.CheckpointAbandoned)
		}
	case *rpcpb.AttachResponse_Release:
		if a.holds(m.Release.JobId) {
			a.cfg.Log.Info("released", "job", m.Release.JobId)
			a.end(errReleased)
			a.drop()
		} else if a.running == nil {
			a.unprepare(m.Release.JobId)
		}
	}
}

// accept starts a newer generation; an assignment that is not newer is refused.
func (a *agent) accept(ctx context.Context, as *rpcpb.Assign) {
	if n := a.newest; n != nil && (as.Term < n.Term || as.Term == n.Term && as.Index <= n.Index) {
		a.cfg.Log.Warn("assignment refused: not newer", "job", as.JobId, "generation", as.Generation, "term", as.Term, "index", as.Index)
		return
	}
	rank := -1
	for i, m := range as.Members {
		if m.WorkerId == string(a.cfg.ID) {
			rank = i
		}
	}
	if rank < 0 {
		a.cfg.Log.Error("assignment refused: not a member", "job", as.JobId, "generation", as.Generation)
		return
	}
	if g := a.runs(as.JobId); g != nil && g.assign.Generation == as.Generation {
		a.newest = as // sent again by a new leader
		return
	}
	a.end(errSuperseded)
	a.newest, a.verdict = as, nil
	a.peers.keep(as.Members)
	gctx, cancel := context.WithCancelCause(ctx)
	g := newGeneration(a, as, ringleader.Rank(rank), cancel)
	g.saver = newSaver(gctx, g)
	a.running, a.recent, a.cancel, a.ended = g, g, cancel, make(chan outcome, 1)
	a.setHolding(&rpcpb.Holding{JobId: as.JobId, Generation: as.Generation, Step: int64(a.heldStep(as.JobId))})
	a.cfg.Log.Info("generation", "job", as.JobId, "number", as.Generation, "rank", rank, "size", g.size, "step", as.ResumeStep)
	a.cfg.Observer.Assigned(g.membership())
	go func(ended chan<- outcome) { ended <- g.run(gctx) }(a.ended)
}

// left reports how the running generation ended and waits for the next.
func (a *agent) left(out outcome) {
	a.cancel(nil)
	a.cfg.Observer.Left(a.running.membership())
	a.running, a.ended = nil, nil
	if out.failed != nil {
		a.cfg.Log.Error("job failed", "job", out.job, "error", out.failed)
		a.verdict = &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_JobFailed{JobFailed: &rpcpb.JobFailed{
			JobId: string(out.job), Generation: uint64(out.generation), Error: out.failed.Error()}}}
		a.send(a.verdict)
	}
	reason := rpcpb.LeftReason_LEFT_REASON_FAULT
	if out.planned {
		reason = rpcpb.LeftReason_LEFT_REASON_PLANNED
	}
	a.cfg.Log.Info("left generation", "job", out.job, "number", out.generation, "step", out.step, "reason", reason, "culprit", out.culprit, "how", out.how)
	a.setHolding(&rpcpb.Holding{JobId: string(out.job), Generation: uint64(out.generation), Step: int64(out.step), Left: true,
		Culprit: string(out.culprit), How: out.how, Hung: out.hung, Reason: reason, Dispute: out.dispute})
	a.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Left{Left: &rpcpb.Left{JobId: string(out.job), Generation: uint64(out.generation),
		Step: int64(out.step), Reason: reason, Culprit: string(out.culprit), How: out.how, Hung: out.hung, Draining: a.draining.Load(), Dispute: out.dispute}}})
}

// end stops the running generation and waits until its goroutines are gone. Its outcome is of no interest any more.
func (a *agent) end(cause error) {
	if a.running == nil {
		return
	}
	a.cancel(cause)
	<-a.ended
	a.running, a.ended = nil, nil
}

// runs returns the running generation if it is of the job.
func (a *agent) runs(jobID string) *generation {
	if a.running != nil && a.running.assign.JobId == jobID {
		return a.running
	}
	return nil
}

func (a *agent) holds(jobID string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.holding != nil && a.holding.JobId == jobID
}

// send queues a message to the leader. What is lost while there is none is said again by register and by the saver.
func (a *agent) send(m *rpcpb.AttachRequest) {
	if err := a.attachment.Send(m); err != nil {
		a.cfg.Log.Warn("message to the leader dropped", "error", err)
	}
}

// register introduces the worker, on every new stream.
func (a *agent) register() *rpcpb.Register {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &rpcpb.Register{
		WorkerId:      string(a.cfg.ID),
		Incarnation:   a.incarnation,
		Address:       a.cfg.Advertise,
		Host:          a.cfg.Host,
		Device:        a.cfg.Device.Name(),
		NumericsClass: a.cfg.Device.Class(),
		Holding:       a.holding,
		Draining:      a.draining.Load(),
	}
}

func (a *agent) setHolding(h *rpcpb.Holding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holding = h
}

// setStep keeps what register says current.
func (a *agent) setStep(step ringleader.Step) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.holding; h != nil && !h.Left {
		a.holding = &rpcpb.Holding{JobId: h.JobId, Generation: h.Generation, Step: int64(step)}
	}
}

// replicaFor returns the job's replica, opening it if the worker does not have it yet.
func (a *agent) replicaFor(ctx context.Context, id ringleader.JobID, spec job.Spec) (*replica, error) {
	if err := a.awaitOpening(ctx, string(id)); err != nil {
		return nil, err
	}
	return a.openFor(ctx, id, spec)
}

func (a *agent) openFor(ctx context.Context, id ringleader.JobID, spec job.Spec) (*replica, error) {
	if r := a.held(string(id)); r != nil {
		return r, nil
	}
	a.dropReplica()
	r, err := openReplica(ctx, &a.cfg, &a.beat, id, spec.What)
	if err != nil {
		return nil, err
	}
	for _, note := range r.model.Notes() {
		a.cfg.Log.Info("model", "note", note)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replica = r
	return r, nil
}

// held returns the replica of the job, or nil.
func (a *agent) held(jobID string) *replica {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replica != nil && string(a.replica.id) == jobID {
		return a.replica
	}
	return nil
}

func (a *agent) heldStep(jobID string) ringleader.Step {
	if r := a.held(jobID); r != nil {
		return r.at()
	}
	return noState
}

// drop forgets the job. No generation is running. What comes next may be of another cluster, founded anew at these addresses, whose terms and
// indices begin again. It is not of a leader that is over: whoever attaches is told nothing before its registration has gone through the log.
func (a *agent) drop() {
	a.newest, a.verdict, a.recent = nil, nil, nil
	a.dropReplica()
	a.setHolding(nil)
}

func (a *agent) dropReplica() {
	a.mu.Lock()
	r := a.replica
	a.replica = nil
	a.mu.Unlock()
	if r != nil {
		r.close()
	}
}

// loadCheckpoint gives the replica the state of a step directory, verified. One that does not verify is reported, so that the next
// generation takes an older one.
func (a *agent) loadCheckpoint(ctx context.Context, r *replica, as *rpcpb.Assign) error {
	base, dir := path.Split(as.ResumeUrl)
	store, err := a.cfg.OpenStore(ctx, strings.TrimSuffix(base, "/"))
	if err != nil {
		return fmt.Errorf("open store %s: %w", base, err)
	}
	defer store.Close()
	st, _, err := checkpoints.Load(ctx, store, dir)
	if err == nil && int64(st.Step) != as.ResumeStep {
		err = fmt.Errorf("it is at step %d, the generation resumes at %d", st.Step, as.ResumeStep)
	}
	if err == nil {
		st.Job = r.digest // a fork goes on under its own name
		return r.load(st)
	}
	err = fmt.Errorf("load checkpoint %s: %w", as.ResumeUrl, err)
	if !errors.Is(err, checkpoints.ErrUnavailable) && !errors.Is(err, checkpoints.ErrDenied) && ctx.Err() == nil {
		a.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_CheckpointUnusable{CheckpointUnusable: &rpcpb.CheckpointUnusable{
			JobId: as.JobId, Generation: as.Generation, ResumeUrl: as.ResumeUrl, Error: err.Error()}}})
	}
	return err
}
