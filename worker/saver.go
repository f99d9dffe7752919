package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// saver writes this member's share of the generation's checkpoints while training goes on. One is in flight at a time; one that falls
// due meanwhile is skipped and reported. Storage trouble never ends the generation.
//
// The commit point is the leader's: parts_written goes up from every member, write_manifest comes down to rank 0, manifest_written goes
// up, committed comes down when the log has it.
type saver struct {
	ctx        context.Context // ends with the generation
	cancel     context.CancelFunc
	generation *generation
	wg         sync.WaitGroup
	idle       chan struct{} // holds a token unless this member's parts are being written or removed
	turn       chan struct{} // holds a token unless a manifest is being written: the one before is committed or reported first
	litter     litter

	mu      sync.Mutex
	closed  bool
	writing ringleader.Step                   // step of the newest write
	giveUp  context.CancelFunc                // ends it, if it is under way and may be skipped
	pending ringleader.Step                   // step of the newest checkpoint that may be skipped, until it is committed or given up; else 0
	parts   *rpcpb.AttachRequest              // own parts of the newest checkpoint, until it is committed
	written *rpcpb.AttachRequest              // its manifest, if this is rank 0
	failed  *rpcpb.AttachRequest              // the newest report of a checkpoint that is skipped, until the leader has answered it
	share   *share                            // what the manifest is about
	last    *Snapshot                         // the newest
	proven  ringleader.Digest                 // of the state that members compared before they copied it; only the training goroutine uses it
	waiting map[ringleader.Step]chan struct{} // closed when the step's checkpoint is committed

	completing int // manifests being written
}

func newSaver(ctx context.Context, g *generation) *saver {
	ctx, cancel := context.WithCancel(ctx)
	s := &saver{ctx: ctx, cancel: cancel, generation: g, idle: make(chan struct{}, 1), turn: make(chan struct{}, 1), waiting: map[ringleader.Step]chan struct{}{}}
	s.idle <- struct{}{}
	s.turn <- struct{}{}
	return s
}

// background runs f unless the generation is over.
func (s *saver) background(f func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(func() { f(s.ctx) })
	}
}

// lost reports a checkpoint that will not be, because the gang regroups; one member speaks for all.
func (s *saver) lost(step ringleader.Step) {
	if s.generation.rank == 0 {
		s.report(step, "the gang regroups before it is stored", kindPeriodic)
	}
}

// release gives the token back.
func (s *saver) release() { s.idle <- struct{}{} }

// busy tells whether a checkpoint would have to be skipped now: parts are being written or removed, or the others' are waited for. The
// commit of a checkpoint that was overtaken by the next would never come; but what nobody answers is not waited for for ever.
func (s *saver) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	patience := attempts * time.Duration(s.generation.spec.How.Deadlines.Store)
	return len(s.idle) == 0 || s.share != nil && time.Since(s.share.announced) < patience
}

// saveKind says what a checkpoint is for.
type saveKind string

const (
	kindPeriodic saveKind = "periodic" // may be skipped
	kindPause    saveKind = "pause"    // the job waits for it
	kindFinal    saveKind = "final"    // the job ends with it
)

// stillWriting is why a checkpoint is skipped.
const stillWriting = "the checkpoint before it is still being written"

// begin compares the state with the other members', snapshots it and writes it in the background.
func (s *saver) begin() error {
	if err := s.prove(s.ctx); err != nil {
		return err
	}
	select {
	case <-s.idle:
		return s.start(kindPeriodic)
	default:
		s.report(s.generation.replica.step, stillWriting, kindPeriodic)
		return nil
	}
}

// durable writes a checkpoint of the present state and waits until it is committed: before a pause, training stands still anyway.
func (s *saver) durable() error { return s.commit(s.ctx, kindPause) }

// final is durable for the last state of the job. It is never skipped: it is tried until it is committed or the generation ends.
func (s *saver) final() error { return s.commit(s.ctx, kindFinal) }

// keep is durable for the state that a failing job leaves behind. It is tried for a while only: the job fails either way.
func (s *saver) keep() error {
	ctx, cancel := context.WithTimeout(s.ctx, attempts*time.Duration(s.generation.spec.How.Deadlines.Store))
	defer cancel()
	return s.commit(ctx, kindPause)
}

func (s *saver) commit(ctx context.Context, kind saveKind) error {
	if err := s.prove(ctx); err != nil {
		return err
	}
	if err := s.await(ctx, s.idle); err != nil {
		return err
	}
	step, done := s.generation.replica.step, make(chan struct{})
	s.litter.keep(step) // an earlier attempt that was given up is made good
	s.mu.Lock()
	s.waiting[step] = done
	s.mu.Unlock()
	if err := s.start(kind); err != nil {
		return err
	}
	return s.generation.settle(ctx, done)
}

// prove compares the states that are to be stored: a difference that shows in the store would cost the job, one that shows here costs a generation.
func (s *saver) prove(ctx context.Context) (err error) {
	s.proven, err = s.generation.compare(ctx, proofBucket)
	return err
}

// start copies the state and writes it in the background. The caller has the token; the writing gives it back.
func (s *saver) start(kind saveKind) error {
	snap, err := s.generation.replica.Snapshot(s.spare())
	if err != nil {
		s.release()
		return err
	}
	st, proven := &snap.State, s.proven
	s.mu.Lock()
	s.last = snap
	if s.pending = 0; kind == kindPeriodic {
		s.pending = st.Step
	}
	s.mu.Unlock()
	s.background(func(ctx context.Context) {
		defer s.release()
		s.write(ctx, st, proven, kind)
	})
	return nil
}

// spare is the snapshot before, if nothing of its checkpoint is under way any more. The caller has the token.
func (s *saver) spare() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share != nil || s.completing > 0 {
		return nil
	}
	return s.last
}

// hurry gives up a checkpoint that may be skipped: somebody waits for its writing to end, and nobody for it.
func (s *saver) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.giveUp != nil {
		s.giveUp()
	}
}

// await waits for a channel as long as the generation lives, and shows the others that this member does.
func (s *saver) await(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	group := s.generation.group
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-group.Done():
			return group.Err()
		case <-tick.C:
			s.generation.agent.beat.Add(1)
		}
	}
}

// announce tells the leader that the parts are in the store, now and on every new stream until the commit.
func (s *saver) announce(sh *share) {
	g := s.generation
	msg := &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_PartsWritten{PartsWritten: &rpcpb.PartsWritten{
		JobId: g.assign.JobId, Generation: g.assign.Generation, Step: int64(sh.state.Step), StateDigest: sh.digest.String(),
		Files: toProto(sh.files), Final: sh.kind == kindFinal, Pause: sh.kind == kindPause}}}
	s.mu.Lock()
	before := s.share
	sh.announced = time.Now()
	s.parts, s.written, s.share = msg, nil, sh
	overtaken := before != nil && before.kind == kindPeriodic && !before.complete && g.rank == 0
	s.mu.Unlock()
	if overtaken { // nobody would write its manifest any more
		s.report(before.state.Step, fmt.Sprintf("overtaken by the one at step %d", sh.state.Step), kindPeriodic)
	}
	g.agent.send(msg)
}

// resend repeats what a new leader may not have heard.
func (s *saver) resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range []*rpcpb.AttachRequest{s.failed, s.parts, s.written} {
		if m != nil {
			s.generation.agent.send(m)
		}
	}
}

// partsComplete writes the manifest: all parts are in the store.
func (s *saver) partsComplete(m *rpcpb.WriteManifest) {
	s.mu.Lock()
	sh, written := s.share, s.written != nil
	if sh == nil || int64(sh.state.Step) != m.Step || m.Generation != s.generation.assign.Generation {
		s.mu.Unlock()
		return
	}
	asked := sh.complete
	sh.complete = true
	if !written && !asked {
		s.completing++
	}
	s.mu.Unlock()
	switch {
	case written:
		s.resend()
	case !asked:
		s.background(func(ctx context.Context) {
			select {
			case <-s.turn:
				s.manifest(ctx, sh, m)
				s.turn <- struct{}{}
			case <-ctx.Done():
			}
			s.mu.Lock()
			s.completing--
			s.mu.Unlock()
		})
	}
}

// manifest writes the manifest, reads all of the checkpoint back and tells the leader: what is committed has been verified, so that retention
// never gives up the last one that was. A second writer of the same manifest is harmless.
func (s *saver) manifest(ctx context.Context, sh *share, m *rpcpb.WriteManifest) {
	var sum string
	if !s.persist(ctx, sh.state.Step, sh.kind, func() (err error) { sum, err = s.complete(ctx, sh, m); return err }) {
		return
	}
	msg := &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_ManifestWritten{ManifestWritten: &rpcpb.ManifestWritten{
		JobId: m.JobId, Generation: m.Generation, Checkpoint: &rpcpb.CheckpointInfo{Step: m.Step, Directory: sh.dir,
			StateDigest: sh.digest.String(), ManifestSha256: sum, Generation: m.Generation, Final: sh.kind == kindFinal}}}}
	s.mu.Lock()
	if s.share == sh { // or else the manifest of the next one, announced meanwhile, would count as written
		s.written = msg
	}
	s.mu.Unlock()
	s.generation.agent.send(msg)
}

// committed is the end of a checkpoint; rank 0 also removes the directories that retention gave up, and what the dead left.
func (s *saver) committed(m *rpcpb.Committed) {
	step := ringleader.Step(m.Step)
	s.litter.keep(step)
	s.litter.overtaken(step)
	s.mu.Lock()
	s.forget(step)
	if done := s.waiting[step]; done != nil {
		close(done)
		delete(s.waiting, step)
	}
	s.mu.Unlock()
	// The final checkpoint ends the generation; what it overtakes and retires must go all the same. Own parts of what it overtakes are not
	// being written any more: they came before those of this one.
	a, ctx := s.generation.agent, context.WithoutCancel(s.ctx)
	a.retired.Go(func() {
		s.sweep(ctx)
		if s.generation.rank == 0 {
			s.retire(ctx, step, m.Retire)
		}
	})
}

// forget drops what would be told to a new leader about a step. mu is held.
func (s *saver) forget(step ringleader.Step) {
	if s.pending == step {
		s.pending = 0
	}
	if s.share != nil && s.share.state.Step == step {
		s.parts, s.written, s.share = nil, nil, nil
	}
}

// abandoned: a member could not write its share. What this one writes or wrote of a checkpoint that may be skipped is removed. For one
// that must not be, the leader has forgotten the parts that it was told of, and is told again.
func (s *saver) abandoned(m *rpcpb.CheckpointAbandoned) {
	step := ringleader.Step(m.Step)
	s.mu.Lock()
	must := s.waiting[step] != nil
	if !must {
		s.forget(step)
	}
	if s.failed.GetCheckpointFailed().GetStep() == m.Step {
		s.failed = nil
	}
	stop := s.giveUp
	if s.writing != step {
		stop = nil
	}
	s.mu.Unlock()
	switch {
	case must:
		s.resend()
	case stop != nil:
		stop() // the writer sweeps
	case s.litter.abandon(step):
		s.background(s.sweepWhenIdle)
	}
}

// report tells the leader that a checkpoint was skipped, or (final) will be tried again.
func (s *saver) report(step ringleader.Step, why string, kind saveKind) {
	g := s.generation
	g.agent.cfg.Log.Warn("checkpoint failed", "job", g.assign.JobId, "step", step, "error", why, "kind", kind)
	msg := &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_CheckpointFailed{CheckpointFailed: &rpcpb.CheckpointFailed{
		JobId: g.assign.JobId, Generation: g.assign.Generation, Step: int64(step), Error: why, Final: kind == kindFinal}}}
	if kind == kindPeriodic { // the others are said again by the next try
		s.mu.Lock()
		s.failed = msg
		if s.pending == step {
			s.pending = 0
		}
		s.mu.Unlock()
	}
	g.agent.send(msg)
}

// close gives up a checkpoint that is still being written, waits for the writers and starts no more.
func (s *saver) close() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	pending := s.pending
	s.mu.Unlock()
	s.wg.Wait()
	if pending > 0 {
		s.lost(pending)
	}
}
