package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/schedule"
	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// session is one worker's stream. What was sent on it is remembered per stream, so that a new one is told everything again.
type session struct {
	id   string
	out  chan *rpcpb.AttachResponse
	over chan struct{} // closed by end
	once sync.Once
	err  error // status with which the stream ends; read after over

	// The loop's own:
	asked    changeKey // last Change
	manifest stepKey   // last WriteManifest
	prepare  string    // job of the last Prepare, until it is answered
}

type changeKey struct {
	job        string
	generation uint64
	action     rpcpb.ChangeAction
}

type stepKey struct {
	job        string
	generation uint64
	step       int64
}

const maxOut = 64

func newSession(id string) *session {
	return &session{id: id, out: make(chan *rpcpb.AttachResponse, maxOut), over: make(chan struct{})}
}

// end ends the stream with a status; the first reason counts.
func (s *session) end(err error) {
	s.once.Do(func() { s.err = err; close(s.over) })
}

// send queues a message. A worker that does not read loses its stream, and hears everything again on the next.
func (s *session) send(m *rpcpb.AttachResponse) {
	select {
	case s.out <- m:
	default:
		s.end(status.Errorf(codes.Unavailable, "worker %s does not read its stream: %d messages wait", s.id, maxOut))
	}
}

// Attach implements the service: a worker's stream.
func (s *service) Attach(stream rpcpb.CoordinatorService_AttachServer) error {
	l := s.c.leading.Load()
	if l == nil {
		return s.notLeader(stream.Context(), stream.SetTrailer)
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	reg := first.GetRegister()
	if err := checkRegister(reg); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	sess := newSession(reg.WorkerId)
	ctx := stream.Context()
	if !l.post(ctx, func() error { return l.attach(sess, reg) }) {
		return s.notLeader(ctx, stream.SetTrailer)
	}
	go s.receive(stream, l, sess) // ends when the stream does, which is when this method returns
	err = l.write(stream, sess)
	l.post(context.Background(), func() error { l.detach(sess); return nil }) // also when the stream's own context has ended
	if errors.Is(err, errNotLeader) {
		return s.notLeader(ctx, stream.SetTrailer)
	}
	return err
}

func checkRegister(r *rpcpb.Register) error {
	h := r.GetHolding()
	switch {
	case r == nil:
		return errors.New("attach: the first message must be Register")
	case r.WorkerId == "" || len(r.WorkerId) > 128:
		return fmt.Errorf("register: worker id %q: want 1 to 128 characters", r.WorkerId)
	case r.Incarnation == "" || r.Device == "" || r.Address == "":
		return fmt.Errorf("register worker %s: incarnation %q, device %q, address %q: want none empty", r.WorkerId, r.Incarnation, r.Device, r.Address)
	case h != nil && h.JobId == "":
		return fmt.Errorf("register worker %s: it holds something of no job", r.WorkerId)
	}
	return nil
}

func (s *service) receive(stream rpcpb.CoordinatorService_AttachServer, l *leadership, sess *session) {
	ctx := stream.Context()
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) { // the worker says goodbye; what it said before is in the loop's queue
			sess.end(nil)
			return
		}
		if err != nil {
			sess.end(err)
			return
		}
		if b := m.GetHeartbeat(); b != nil {
			sess.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Heartbeat{Heartbeat: b}})
		}
		if !l.post(ctx, func() error { return l.receive(sess, m) }) {
			return
		}
	}
}

// write sends what is queued until the stream ends.
func (l *leadership) write(stream rpcpb.CoordinatorService_AttachServer, sess *session) error {
	for {
		select {
		case m := <-sess.out:
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-sess.over:
			return sess.err
		case <-l.done:
			return errNotLeader
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// attach takes a worker in: its registration goes into the log before anything is sent.
func (l *leadership) attach(sess *session, reg *rpcpb.Register) error {
	now := l.c.cfg.Now()
	old, known := l.workers[sess.id]
	if other := l.sessions[sess.id]; other != nil {
		if old.Incarnation != reg.Incarnation && now.Sub(old.Heard) <= l.c.cfg.Policy.WorkerLease {
			sess.end(status.Errorf(codes.Aborted, "worker id %s is in use by another process, heard %v ago", sess.id, now.Sub(old.Heard).Round(time.Millisecond)))
			return nil
		}
		other.end(status.Errorf(codes.Aborted, "worker %s has a newer stream", sess.id))
	}
	_, refused, err := l.try(&logpb.Command{Command: &logpb.Command_WorkerRegistered{WorkerRegistered: &logpb.WorkerRegistered{Worker: &logpb.Worker{
		Id: reg.WorkerId, Incarnation: reg.Incarnation, Address: reg.Address, Host: reg.Host, Device: reg.Device,
		NumericsClass: reg.NumericsClass, Labels: reg.Labels}}}})
	if err != nil || refused != nil {
		sess.end(grpcError(errors.Join(refused, err)))
		return err
	}
	w := schedule.Worker{Incarnation: reg.Incarnation, Attached: true, AttachedAt: now, Heard: now, Draining: reg.Draining}
	if h := reg.Holding; h != nil {
		w.Holding = schedule.Holding{Job: h.JobId, Generation: h.Generation, Step: h.Step, Left: h.Left, LeftAt: now,
			Planned: h.Reason == rpcpb.LeftReason_LEFT_REASON_PLANNED, Culprit: h.Culprit, How: h.How, Hung: h.Hung}
		if was := old.Holding; known && was.Left && h.Left && was.Job == h.JobId && was.Generation == h.Generation {
			w.Holding.LeftAt = was.LeftAt // it has only said it again
		}
	}
	l.workers[sess.id], l.sessions[sess.id] = w, sess
	sess.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Registered{Registered: &rpcpb.Registered{Term: l.term, HeartbeatMs: l.c.cfg.Heartbeat.Milliseconds()}}})
	return l.onDispute(sess, reg.Holding.GetJobId(), reg.Holding.GetGeneration(), reg.Holding.GetDispute())
}

func (l *leadership) detach(sess *session) {
	if l.sessions[sess.id] != sess {
		return
	}
	delete(l.sessions, sess.id)
	w := l.workers[sess.id]
	w.Attached, w.DetachedAt = false, l.c.cfg.Now()
	l.workers[sess.id] = w
}

// receive handles a message from a worker. Messages of streams that were replaced no longer count.
func (l *leadership) receive(sess *session, m *rpcpb.AttachRequest) error {
	if l.sessions[sess.id] != sess {
		return nil
	}
	w := l.workers[sess.id]
	w.Heard = l.c.cfg.Now()
	l.workers[sess.id] = w
	switch m := m.Message.(type) {
	case *rpcpb.AttachRequest_Progress:
		return l.onProgress(m.Progress)
	case *rpcpb.AttachRequest_Left:
		return l.onLeft(sess, m.Left)
	case *rpcpb.AttachRequest_Prepared:
		return l.onPrepared(sess, m.Prepared)
	case *rpcpb.AttachRequest_PartsWritten:
		return l.onParts(sess, m.PartsWritten)
	case *rpcpb.AttachRequest_ManifestWritten:
		return l.onManifest(sess, m.ManifestWritten)
	case *rpcpb.AttachRequest_CheckpointFailed:
		return l.onCheckpointFailed(sess, m.CheckpointFailed)
	case *rpcpb.AttachRequest_CheckpointUnusable:
		return l.onCheckpointUnusable(sess, m.CheckpointUnusable)
	case *rpcpb.AttachRequest_Evaluated:
		if l.member(m.Evaluated.JobId, m.Evaluated.Generation, sess.id) != nil {
			return l.onEvaluated(m.Evaluated)
		}
	case *rpcpb.AttachRequest_JobFailed:
		if l.member(m.JobFailed.JobId, m.JobFailed.Generation, sess.id) != nil {
			return l.fail(m.JobFailed.JobId, m.JobFailed.Generation, fmt.Sprintf("worker %s: %s", sess.id, m.JobFailed.Error))
		}
	}
	return nil
}

// drain tells a worker to leave, and plans without it from now on; false if it is not attached.
func (l *leadership) drain(id string) bool {
	sess, w := l.sessions[id], l.workers[id]
	if sess == nil {
		return false
	}
	if !w.Draining {
		w.Draining = true
		l.workers[id] = w
		sess.send(&rpcpb.AttachResponse{Message: &rpcpb.AttachResponse_Drain{Drain: &rpcpb.Drain{}}})
	}
	return true
}

// member is the job, if it is live in that generation and the worker is a member of it; else nil.
func (l *leadership) member(job string, generation uint64, worker string) *logpb.Job {
	j := l.c.fsm.View().Job(job)
	if j == nil || !state.Live(j) || state.Current(j).Number != generation || state.RankIn(state.Current(j), worker) < 0 {
		return nil
	}
	return j
}

// onLeft: a repetition keeps its first time, and one that crossed a newer assignment is old news.
func (l *leadership) onLeft(sess *session, m *rpcpb.Left) error {
	w := l.workers[sess.id]
	w.Draining = w.Draining || m.Draining
	h := w.Holding
	if h.Job != m.JobId || m.Generation >= h.Generation {
		at := l.c.cfg.Now()
		if h.Job == m.JobId && h.Generation == m.Generation && h.Left {
			at = h.LeftAt
		}
		if j := l.c.fsm.View().Job(m.JobId); h.Job == m.JobId || h.Job == "" && j != nil && state.Live(j) {
			w.Holding = schedule.Holding{Job: m.JobId, Generation: m.Generation, Step: m.Step, Left: true, LeftAt: at,
				Planned: m.Reason == rpcpb.LeftReason_LEFT_REASON_PLANNED, Culprit: m.Culprit, How: m.How, Hung: m.Hung}
		}
	}
	l.workers[sess.id] = w
	return l.onDispute(sess, m.JobId, m.Generation, m.Dispute)
}

// onDispute has the log remember that members of a gang held unlike states, before the next generation is made. What is repeated changes nothing.
func (l *leadership) onDispute(sess *session, job string, generation uint64, d *rpcpb.Dispute) error {
	if d == nil || l.member(job, generation, sess.id) == nil {
		return nil
	}
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_StatesDiffered{StatesDiffered: &logpb.StatesDiffered{JobId: job,
		Dispute: &logpb.Dispute{Generation: generation, Step: d.Step, Digests: d.Digests}}}})
	return err
}

// onPrepared: to get ready for one job, a worker gives up what it had of another.
func (l *leadership) onPrepared(sess *session, m *rpcpb.Prepared) error {
	w := l.workers[sess.id]
	if sess.prepare == m.JobId {
		sess.prepare = ""
	}
	again := w.Unready == m.JobId
	w.Prepared, w.Unready = m.JobId, ""
	if w.Holding.Job != m.JobId && w.Holding.Left {
		w.Holding = schedule.Holding{}
	}
	if m.Error != "" {
		w.Prepared, w.Unready, w.UnreadyAt = "", m.JobId, l.c.cfg.Now()
	}
	l.workers[sess.id] = w
	if j := l.c.fsm.View().Job(m.JobId); m.Error != "" && !again && j != nil && state.Live(j) {
		return l.note(m.JobId, fmt.Sprintf("worker %s cannot get ready to join: %s", sess.id, m.Error))
	}
	return nil
}

// onProgress keeps the newest progress of a gang, and lets the log know now and then.
func (l *leadership) onProgress(p *rpcpb.Progress) error {
	j := l.c.fsm.View().Job(p.JobId)
	if j == nil || !state.Live(j) || state.Current(j).Number != p.Generation {
		return nil
	}
	l.progress[j.Id] = p
	if err := l.onPace(j, p); err != nil {
		return err
	}
	if p.Step > state.Current(j).ResumeStep {
		l.bench.Forgive(j.Id)
	}
	now := l.c.cfg.Now()
	last, known := l.marked[j.Id]
	if !known {
		last = mark{step: j.GetMark().GetStep(), at: now}
		l.marked[j.Id] = last
	}
	if end := state.LastStep(j.Demand); end > 0 && p.Step >= end {
		if err := l.finishing(j); err != nil {
			return err
		}
	} else if now.Sub(last.at) < l.c.cfg.MarkEvery && p.Step < last.step+l.c.cfg.MarkSteps {
		return nil
	}
	l.marked[j.Id] = mark{p.Step, now}
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_ProgressMarked{ProgressMarked: &logpb.ProgressMarked{JobId: j.Id, Mark: &logpb.Mark{
		Generation: p.Generation, Step: p.Step, Loss: p.Loss, Users: p.Users, Tokens: p.Tokens, TimeMs: p.TimeMs}}}})
	return err
}

// finishing: the last step is done and the final checkpoint is not.
func (l *leadership) finishing(j *logpb.Job) error {
	if j.State != logpb.JobState_JOB_STATE_RUNNING {
		return nil
	}
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_JobFinishing{JobFinishing: &logpb.JobFinishing{JobId: j.Id, Generation: state.Current(j).Number}}})
	return err
}
