package coordinator

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/ringleader-dev/ringleader/coordinator/state"
)

// fsm is the thin layer between Raft and the replicated state.
type fsm struct {
	mu      sync.Mutex
	s       *state.State
	broken  error // the log on this disk is not what was written: nothing is applied any more
	view    atomic.Pointer[state.View]
	applied *broadcast  // the view is a newer one
	changed *broadcast  // as is whatever else the services show
	fatal   func(error) // called once, when broken is set
}

func newFSM(changed *broadcast, fatal func(error)) *fsm {
	f := &fsm{s: state.New(), applied: newBroadcast(), changed: changed, fatal: fatal}
	f.publish()
	return f
}

// View is the state after the last applied entry.
func (f *fsm) View() state.View { return *f.view.Load() }

func (f *fsm) publish() {
	v := f.s.View()
	f.view.Store(&v)
	f.applied.notify()
	f.changed.notify()
}

// applied is what Apply hands to whoever proposed the entry.
type applied struct {
	result state.Result
	err    error
}

// Apply implements raft.FSM. An entry that does not decode must not be passed over: this replica would differ from the others.
func (f *fsm) Apply(log *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return applied{err: f.broken}
	}
	cmd, err := state.Decode(log.Data)
	if err != nil {
		f.broken = fmt.Errorf("log entry %d: %w", log.Index, err)
		f.fatal(f.broken)
		return applied{err: f.broken}
	}
	r, err := f.s.Apply(log.Index, cmd)
	f.publish()
	return applied{r, err}
}

// Snapshot implements raft.FSM. Views never change, so that nothing need be copied.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return nil, f.broken
	}
	return snapshot{f.s.View()}, nil
}

// Restore implements raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	s, err := state.ReadSnapshot(r)
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s = s
	f.publish()
	return nil
}

type snapshot struct{ view state.View }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.view.WriteSnapshot(sink); err != nil {
		_ = sink.Cancel() // the first error says more
		return err
	}
	return sink.Close()
}

func (snapshot) Release() {}

// broadcast wakes everyone who waits for a change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func newBroadcast() *broadcast { return &broadcast{ch: make(chan struct{})} }

// wait returns a channel that is closed at the next change. Take it before looking at what may change.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ch)
	b.ch = make(chan struct{})
}
