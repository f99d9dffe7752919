package coordinator

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	good := func() Config {
		c := DefaultConfig()
		c.Dir, c.Token = "d", testToken
		return c
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		`bind "0.0.0.0:1"`:               func(c *Config) { c.Bind = "0.0.0.0:1" },
		"dir is empty":                   func(c *Config) { c.Dir = "" },
		"token is empty":                 func(c *Config) { c.Token = "" },
		`peer "x"`:                       func(c *Config) { c.Peers = []string{"x"} },
		"want one of them":               func(c *Config) { c.Peers, c.Join = []string{c.Bind}, []string{"b:1"} },
		"own address 127.0.0.1:7600":     func(c *Config) { c.Peers = []string{"a:1", "b:1", "c:1"} },
		"2 peers, want 1, 3, 5 or 7":     func(c *Config) { c.Peers = []string{c.Bind, "b:1"} },
		"no address twice":               func(c *Config) { c.Peers = []string{c.Bind, "b:1", "b:1"} },
		"heartbeat 3s":                   func(c *Config) { c.Heartbeat = 3 * time.Second },
		"tick 0s":                        func(c *Config) { c.Tick = 0 },
		"raft timeouts":                  func(c *Config) { c.Raft.Lease = time.Hour },
		"report wait 0s: want more than": func(c *Config) { c.Policy.ReportWait = 0 },
	} {
		c := good()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A replica whose log is not what was written stops, rather than differ.
func TestCorruptEntryStopsTheNode(t *testing.T) {
	var told error
	f := newFSM(newBroadcast(), func(err error) { told = err })
	entry, err := state.Encode(&logpb.Command{TimeMs: 1, Command: &logpb.Command_WorkerRegistered{WorkerRegistered: &logpb.WorkerRegistered{Worker: &logpb.Worker{Id: "w", Incarnation: "1", Device: "cpu"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if a := f.Apply(&raft.Log{Index: 1, Data: entry}).(applied); a.err != nil {
		t.Fatal(a.err)
	}
	broken := bytes.Clone(entry)
	broken[len(broken)-1] ^= 1
	if a := f.Apply(&raft.Log{Index: 2, Data: broken}).(applied); !errors.Is(a.err, state.ErrCorrupt) || !errors.Is(told, state.ErrCorrupt) {
		t.Fatal(a.err, told)
	}
	if a := f.Apply(&raft.Log{Index: 3, Data: entry}).(applied); !errors.Is(a.err, state.ErrCorrupt) {
		t.Fatal("it went on after a hole")
	}
	if _, err := f.Snapshot(); err == nil {
		t.Fatal("it makes snapshots of what it does not know")
	}
}

func TestSnapshotAndRestore(t *testing.T) {
	f := newFSM(newBroadcast(), func(error) {})
	entry, err := state.Encode(&logpb.Command{TimeMs: 1, Command: &logpb.Command_WorkerRegistered{WorkerRegistered: &logpb.WorkerRegistered{Worker: &logpb.Worker{Id: "w", Incarnation: "1", Device: "cpu"}}}})
	if err != nil {
		t.Fatal(err)
	}
	f.Apply(&raft.Log{Index: 7, Data: entry})
	store := raft.NewInmemSnapshotStore()
	sink, err := store.Create(1, 7, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	_, r, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	g := newFSM(newBroadcast(), func(error) {})
	if err := g.Restore(r); err != nil || g.View().Index != 7 || g.View().Worker("w") == nil {
		t.Fatal(err, g.View())
	}
	if err := g.Restore(io.NopCloser(strings.NewReader("nonsense"))); err == nil {
		t.Fatal("nonsense was restored")
	}
}
