package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/job"
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

	mu      sync.Mutex
	closed  bool
	writing chan struct{}        // closed when own parts have been written or given up; nil if there are none
	parts   *rpcpb.AttachRequest // own parts of the newest checkpoint, until it is committed
	written *rpcpb.AttachRequest // its manifest, if this is rank 0
	state   *checkpoints.State   // its snapshot, for the manifest
	kind    saveKind
	waiting map[ringleader.Step]chan struct{} // closed when the step's checkpoint is committed
}

func newSaver(ctx context.Context, g *generation) *saver {
	ctx, cancel := context.WithCancel(ctx)
	return &saver{ctx: ctx, cancel: cancel, generation: g, waiting: map[ringleader.Step]chan struct{}{}}
}

// background runs f unless the generation is over.
func (s *saver) background(f func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(func() { f(s.ctx) })
	}
}

// claim returns the channel to close when the coming write is over, or, if one is under way, its channel and false.
func (s *saver) claim() (chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing != nil {
		return s.writing, false
	}
	s.writing = make(chan struct{})
	return s.writing, true
}

// saveKind says what a checkpoint is for.
type saveKind string

const (
	kindPeriodic saveKind = "periodic" // may be skipped
	kindPause    saveKind = "pause"    // the job waits for it
	kindFinal    saveKind = "final"    // the job ends with it
)

// attempts bounds the tries at a checkpoint that may be skipped.
const attempts = 3

// begin snapshots the state and writes it in the background.
func (s *saver) begin() error {
	step := s.generation.replica.step
	if _, ok := s.claim(); !ok {
		s.report(step, "skipped: the checkpoint before it is still being written", kindPeriodic)
		return nil
	}
	st, err := s.generation.replica.snapshot()
	if err != nil {
		return err
	}
	s.background(func(ctx context.Context) { s.write(ctx, st, kindPeriodic) })
	return nil
}

// durable writes a checkpoint of the present state and waits until it is committed: before a pause, training stands still anyway.
func (s *saver) durable() error { return s.commit(kindPause) }

// final is durable for the last state of the job. It is never skipped: it is tried until it is committed or the generation ends.
func (s *saver) final() error { return s.commit(kindFinal) }

func (s *saver) commit(kind saveKind) error {
	for mine := false; !mine; {
		var writing chan struct{}
		if writing, mine = s.claim(); !mine {
			if err := s.await(writing); err != nil {
				return err
			}
		}
	}
	st, err := s.generation.replica.snapshot()
	if err != nil {
		return err
	}
	done := make(chan struct{})
	s.mu.Lock()
	s.waiting[st.Step] = done
	s.mu.Unlock()
	s.background(func(ctx context.Context) { s.write(ctx, st, kind) })
	return s.await(done)
}

// await waits for a channel as long as the generation lives, and shows the others that this member does.
func (s *saver) await(done <-chan struct{}) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	broken := s.generation.group.Done()
	for {
		select {
		case <-done:
			return nil
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-broken:
			// A member that heard of the commit first leaves first; the news is on its way to this one too.
			if err := s.generation.group.Err(); !errors.Is(err, allreduce.ErrPlanned) {
				return err
			}
			broken = nil
		case <-tick.C:
			s.generation.agent.beat.Add(1)
		}
	}
}

// write puts this member's parts into the store.
func (s *saver) write(ctx context.Context, st *checkpoints.State, kind saveKind) {
	defer func() {
		s.mu.Lock()
		close(s.writing)
		s.writing = nil
		s.mu.Unlock()
	}()
	var files []checkpoints.FileInfo
	if s.persist(ctx, st.Step, kind, func() (err error) { files, err = s.put(ctx, st); return err }) {
		s.announce(st, files, kind)
	}
}

// persist tries a store operation, with growing pauses. What must not be skipped is tried until it works and reported after every
// failure; the rest is tried a few times and reported when it is given up.
func (s *saver) persist(ctx context.Context, step ringleader.Step, kind saveKind, try func() error) bool {
	for n := 1; ; n++ {
		err := try()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		last := kind == kindPeriodic && n == attempts
		if last || kind != kindPeriodic {
			s.report(step, err.Error(), kind)
		}
		if last || !sleep(ctx, min(time.Duration(n)*200*time.Millisecond, 5*time.Second)) {
			return false
		}
	}
}

// put writes the parts that fall to this rank, each attempt bounded.
func (s *saver) put(ctx context.Context, st *checkpoints.State) ([]checkpoints.FileInfo, error) {
	g := s.generation
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.replica.spec.How.Deadlines.Store))
	defer cancel()
	store, err := g.agent.cfg.OpenStore(ctx, g.replica.spec.How.Store)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", g.replica.spec.How.Store, err)
	}
	spec, err := job.Canonical(g.replica.spec)
	if err != nil {
		return nil, err
	}
	parts, err := checkpoints.Plan(st, spec, checkpoints.MaxPart)
	if err != nil {
		return nil, err
	}
	var mine []*checkpoints.Part
	for i, p := range parts {
		if i%g.size == int(g.rank) {
			mine = append(mine, p)
		}
	}
	return checkpoints.WriteParts(ctx, store, checkpoints.Dir(st.Step, st.Digest()), mine)
}

// announce tells the leader that the parts are in the store, now and on every new stream until the commit.
func (s *saver) announce(st *checkpoints.State, files []checkpoints.FileInfo, kind saveKind) {
	g := s.generation
	msg := &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_PartsWritten{PartsWritten: &rpcpb.PartsWritten{
		JobId: g.assign.JobId, Generation: g.assign.Generation, Step: int64(st.Step), StateDigest: st.Digest().String(),
		Files: toProto(files), Final: kind == kindFinal, Pause: kind == kindPause}}}
	s.mu.Lock()
	s.parts, s.written, s.state, s.kind = msg, nil, st, kind
	s.mu.Unlock()
	g.agent.send(msg)
}

// resend repeats what a new leader may not have heard.
func (s *saver) resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range []*rpcpb.AttachRequest{s.parts, s.written} {
		if m != nil {
			s.generation.agent.send(m)
		}
	}
}

// partsComplete writes the manifest: all parts are in the store.
func (s *saver) partsComplete(m *rpcpb.WriteManifest) {
	s.mu.Lock()
	st, pending := s.state, s.written == nil
	kind := s.kind
	s.mu.Unlock()
	if st == nil || int64(st.Step) != m.Step || m.Generation != s.generation.assign.Generation {
		return
	}
	if !pending {
		s.resend()
		return
	}
	s.background(func(ctx context.Context) { s.manifest(ctx, st, m, kind) })
}

// manifest writes the manifest and tells the leader. A second writer of the same manifest is harmless.
func (s *saver) manifest(ctx context.Context, st *checkpoints.State, m *rpcpb.WriteManifest, kind saveKind) {
	dir := checkpoints.Dir(st.Step, st.Digest())
	var sum string
	if !s.persist(ctx, st.Step, kind, func() (err error) { sum, err = s.putManifest(ctx, dir, st, m); return err }) {
		return
	}
	msg := &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_ManifestWritten{ManifestWritten: &rpcpb.ManifestWritten{
		JobId: m.JobId, Generation: m.Generation, Checkpoint: &rpcpb.CheckpointInfo{Step: m.Step, Directory: dir,
			StateDigest: st.Digest().String(), ManifestSha256: sum, Generation: m.Generation, Final: kind == kindFinal}}}}
	s.mu.Lock()
	s.written = msg
	s.mu.Unlock()
	s.generation.agent.send(msg)
}

func (s *saver) putManifest(ctx context.Context, dir string, st *checkpoints.State, m *rpcpb.WriteManifest) (string, error) {
	g := s.generation
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.replica.spec.How.Deadlines.Store))
	defer cancel()
	store, err := g.agent.cfg.OpenStore(ctx, g.replica.spec.How.Store)
	if err != nil {
		return "", fmt.Errorf("open store %s: %w", g.replica.spec.How.Store, err)
	}
	return checkpoints.WriteManifest(ctx, store, dir, &checkpoints.Manifest{
		Job:       st.Job,
		Step:      st.Step,
		State:     st.Digest(),
		Numerics:  g.agent.cfg.Device.Class(),
		Libraries: g.agent.cfg.Libraries,
		Files:     fromProto(m.Files),
		Volatile: checkpoints.Volatile{Host: g.agent.cfg.Host, Time: time.Now().UTC(),
			Generation: ringleader.Generation(m.Generation), Program: g.agent.cfg.Program},
	})
}

// committed is the end of a checkpoint; rank 0 also removes the directories that retention gave up.
func (s *saver) committed(m *rpcpb.Committed) {
	s.mu.Lock()
	if s.state != nil && int64(s.state.Step) == m.Step {
		s.parts, s.written, s.state = nil, nil, nil
	}
	if done := s.waiting[ringleader.Step(m.Step)]; done != nil {
		close(done)
		delete(s.waiting, ringleader.Step(m.Step))
	}
	s.mu.Unlock()
	if s.generation.rank == 0 && len(m.Retire) > 0 {
		s.background(func(ctx context.Context) { s.retire(ctx, m.Retire) })
	}
}

// abandoned: another member could not write its share; what this one wrote is not waited for.
func (s *saver) abandoned(m *rpcpb.CheckpointAbandoned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != nil && int64(s.state.Step) == m.Step && s.kind == kindPeriodic {
		s.parts, s.written, s.state = nil, nil, nil
	}
}

func (s *saver) retire(ctx context.Context, dirs []string) {
	g := s.generation
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.replica.spec.How.Deadlines.Store))
	defer cancel()
	store, err := g.agent.cfg.OpenStore(ctx, g.replica.spec.How.Store)
	for _, dir := range dirs {
		if err == nil {
			err = checkpoints.Delete(ctx, store, dir)
		}
	}
	if err != nil {
		g.agent.cfg.Log.Warn("remove old checkpoints", "directories", dirs, "error", err)
	}
}

// report tells the leader that a checkpoint was skipped, or (final) will be tried again.
func (s *saver) report(step ringleader.Step, why string, kind saveKind) {
	g := s.generation
	g.agent.cfg.Log.Warn("checkpoint failed", "job", g.assign.JobId, "step", step, "error", why, "kind", kind)
	g.agent.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_CheckpointFailed{CheckpointFailed: &rpcpb.CheckpointFailed{
		JobId: g.assign.JobId, Generation: g.assign.Generation, Step: int64(step), Error: why, Final: kind == kindFinal}}})
}

// close gives up a checkpoint that is still being written, waits for the writers and starts no more.
func (s *saver) close() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}

func toProto(files []checkpoints.FileInfo) []*rpcpb.FileInfo {
	var out []*rpcpb.FileInfo
	for _, f := range files {
		out = append(out, &rpcpb.FileInfo{Name: f.Name, Size: f.Size, Sha256: f.SHA256})
	}
	return out
}

func fromProto(files []*rpcpb.FileInfo) []checkpoints.FileInfo {
	var out []checkpoints.FileInfo
	for _, f := range files {
		out = append(out, checkpoints.FileInfo{Name: f.Name, Size: f.Size, SHA256: f.Sha256})
	}
	return out
}

// sleep waits for d and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
