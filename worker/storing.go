package worker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// share is what falls to this member of one checkpoint.
type share struct {
	kind   saveKind
	state  *checkpoints.State // a snapshot
	digest ringleader.Digest  // of the state
	dir    string
	parts  []*checkpoints.Part
	files  []checkpoints.FileInfo // those parts that are in the store

	announced time.Time // when the leader was told of the parts; guarded by the saver's mu
	complete  bool      // all members' parts are in the store, and the manifest is being written; guarded by the saver's mu
}

// attempts bounds the tries at a checkpoint that may be skipped.
const attempts = 3

// write puts this member's parts into the store.
func (s *saver) write(ctx context.Context, st *checkpoints.State, proven ringleader.Digest, kind saveKind) {
	whole := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.mu.Lock()
	if s.writing = st.Step; kind == kindPeriodic {
		s.giveUp = stop
	}
	s.mu.Unlock()
	var sh *share
	ok := s.persist(ctx, st.Step, kind, func() (err error) { sh, err = s.plan(st, kind); return err })
	if ok && fenced && sh.digest != proven {
		ok = false
		s.spoilt(sh, proven)
	}
	ok = ok && s.persist(ctx, st.Step, kind, func() error { return s.adopt(ctx, sh) })
	for i := 0; ok && i < len(sh.parts); i++ {
		ok = s.persist(ctx, st.Step, kind, func() error { return s.put(ctx, sh, sh.parts[i]) })
	}
	s.mu.Lock()
	s.giveUp = nil
	s.mu.Unlock()
	if ok && ctx.Err() == nil {
		s.announce(sh)
	} else {
		s.litter.abandon(st.Step)
	}
	s.sweep(whole)
}

// spoilt: the copy is not of the state that members have compared. If the state itself has changed, the next comparison shows it.
func (s *saver) spoilt(sh *share, proven ringleader.Digest) {
	err := fmt.Errorf("the copy of the state has digest %s, the state had %s", sh.digest, proven)
	if sh.kind == kindPeriodic {
		s.report(sh.state.Step, err.Error(), kindPeriodic)
		return
	}
	s.generation.leave(err) // the next generation compares first, and copies again
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

// plan finds the parts that fall to this rank.
func (s *saver) plan(st *checkpoints.State, kind saveKind) (*share, error) {
	g := s.generation
	parts, err := s.parted(st)
	if err != nil {
		return nil, err
	}
	sh := &share{kind: kind, state: st, digest: st.Digest()}
	sh.dir = checkpoints.Dir(st.Step, sh.digest)
	for i, p := range parts {
		if i%g.size == int(g.rank) {
			sh.parts = append(sh.parts, p)
		}
	}
	return sh, nil
}

// parted are the files of a checkpoint.
func (s *saver) parted(st *checkpoints.State) ([]*checkpoints.Part, error) {
	spec, err := job.Canonical(s.generation.spec)
	if err != nil {
		return nil, err
	}
	return checkpoints.Plan(st, spec, checkpoints.MaxPart)
}

// adopt looks for the same checkpoint in the store, complete and sound: an earlier run of the job left it there. It must not be touched
// then (the job file in it may say another "how"), and its files are this one's. A damaged one is no checkpoint any more.
func (s *saver) adopt(ctx context.Context, sh *share) error {
	return s.withStore(ctx, func(ctx context.Context, store checkpoints.Store) error {
		m, _, err := checkpoints.ReadManifest(ctx, store, sh.dir)
		switch {
		case errors.Is(err, checkpoints.ErrNotExist):
			return nil
		case err == nil && m.State != sh.digest:
			return fmt.Errorf("%s holds another state, %s", sh.dir, m.State)
		case err == nil:
			err = errors.Join(checkpoints.Verify(ctx, store, sh.dir)...)
		}
		switch {
		case errors.Is(err, checkpoints.ErrUnavailable), errors.Is(err, checkpoints.ErrDenied), errors.Is(err, checkpoints.ErrVersion):
			return err
		case err != nil:
			s.generation.agent.cfg.Log.Warn("damaged checkpoint is written again", "directory", sh.dir, "error", err)
			return store.Delete(ctx, path.Join(sh.dir, checkpoints.ManifestName))
		}
		for _, p := range sh.parts {
			if i := slices.IndexFunc(m.Files, func(f checkpoints.FileInfo) bool { return f.Name == p.Name }); i >= 0 {
				sh.files = append(sh.files, m.Files[i])
			}
		}
		sh.parts = nil
		return nil
	})
}

// put writes one part.
func (s *saver) put(ctx context.Context, sh *share, p *checkpoints.Part) error {
	if sh.kind == kindPeriodic {
		s.litter.add(sh.state.Step, sh.dir, p.Name)
	}
	return s.withStore(ctx, func(ctx context.Context, store checkpoints.Store) error {
		files, err := checkpoints.WriteParts(ctx, store, sh.dir, []*checkpoints.Part{p})
		sh.files = append(sh.files, files...)
		return err
	})
}

func (s *saver) putManifest(ctx context.Context, sh *share, m *rpcpb.WriteManifest) (sum string, err error) {
	cfg := &s.generation.agent.cfg
	manifest := &checkpoints.Manifest{
		Job:       sh.state.Job,
		Step:      sh.state.Step,
		State:     sh.digest,
		Numerics:  cfg.Device.Class(),
		Libraries: cfg.Libraries,
		Files:     fromProto(m.Files),
		Volatile: checkpoints.Volatile{Host: cfg.Host, Time: time.Now().UTC(),
			Generation: ringleader.Generation(m.Generation), Program: cfg.Program},
	}
	err = s.withStore(ctx, func(ctx context.Context, store checkpoints.Store) (err error) {
		sum, err = checkpoints.WriteManifest(ctx, store, sh.dir, manifest)
		return err
	})
	return sum, err
}

// complete writes the manifest and reads the checkpoint back. One that is not what was written loses its manifest; this member has all of the
// state, and writes all parts again for the next try.
func (s *saver) complete(ctx context.Context, sh *share, m *rpcpb.WriteManifest) (sum string, err error) {
	if sum, err = s.putManifest(ctx, sh, m); err != nil {
		return "", err
	}
	return sum, s.withStore(ctx, func(ctx context.Context, store checkpoints.Store) error {
		err := errors.Join(checkpoints.Verify(ctx, store, sh.dir)...)
		if !checkpoints.IsDamage(err) {
			return err
		}
		err = fmt.Errorf("read back: %w", err)
		if again := store.Delete(ctx, path.Join(sh.dir, checkpoints.ManifestName)); again != nil {
			return errors.Join(err, again)
		}
		parts, again := s.parted(sh.state)
		if again == nil {
			_, again = checkpoints.WriteParts(ctx, store, sh.dir, parts)
		}
		return errors.Join(err, again)
	})
}

// withStore makes one attempt at something in the job's store, every operation bounded.
func (s *saver) withStore(ctx context.Context, f func(context.Context, checkpoints.Store) error) error {
	how := s.generation.spec.How
	limit := time.Duration(how.Deadlines.Store)
	opening, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	store, err := s.generation.agent.cfg.OpenStore(opening, how.Store)
	if err != nil {
		return fmt.Errorf("open store %s: %w", how.Store, err)
	}
	defer store.Close()
	if err := f(ctx, bounded{store, limit}); err != nil {
		return fmt.Errorf("store %s: %w", how.Store, err)
	}
	return nil
}

// sweep removes what this member wrote for checkpoints that were given up; none of it is being written now. What cannot be removed now is
// tried again after the next checkpoint.
func (s *saver) sweep(ctx context.Context) {
	if len(s.litter.dead()) == 0 || ctx.Err() != nil {
		return
	}
	if err := s.withStore(ctx, s.litter.remove); err != nil && ctx.Err() == nil {
		s.generation.agent.cfg.Log.Warn("checkpoint left behind", "job", s.generation.assign.JobId, "error", err)
	}
}

func (s *saver) sweepWhenIdle(ctx context.Context) {
	select {
	case <-s.idle:
		defer s.release()
		s.sweep(ctx)
	case <-ctx.Done():
	}
}

// maxOverdue bounds what a worker remembers to delete in one store.
const maxOverdue = 1000

// retire deletes old checkpoints, and what members that died left of checkpoints before a step that is committed. What cannot be deleted
// now is tried again after the next one.
func (s *saver) retire(ctx context.Context, step ringleader.Step, dirs []string) {
	a := s.generation.agent
	overdue := <-a.overdue // a store that hangs ends by its deadlines
	defer func() { a.overdue <- overdue }()
	how := s.generation.spec.How
	dirs = append(overdue[how.Store], dirs...)
	err := s.withStore(ctx, func(ctx context.Context, store checkpoints.Store) error {
		for ; len(dirs) > 0; dirs = dirs[1:] {
			if err := checkpoints.Delete(ctx, store, dirs[0]); err != nil {
				return err
			}
		}
		// Another job may use the store: what one of its members can still be writing is younger.
		age := checkpoints.StaleAfter + attempts*time.Duration(how.Deadlines.Store)
		stale, err := checkpoints.Collect(ctx, store, "", step, time.Now().Add(-age))
		if len(stale) > 0 {
			a.cfg.Log.Info("removed unfinished checkpoints of dead workers", "store", how.Store, "directories", stale)
		}
		return err
	})
	overdue[how.Store] = dirs[max(0, len(dirs)-maxOverdue):]
	if err != nil {
		a.cfg.Log.Warn("remove old checkpoints", "store", how.Store, "directories", dirs, "error", err)
	}
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
