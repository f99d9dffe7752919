package coordinator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/internal/faketime"
	"github.com/ringleader-dev/ringleader/internal/memnet"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = rpcauth.Token("a token for tests only")

// cluster is coordinators and workers in one bubble.
type cluster struct {
	t     *testing.T
	net   *memnet.Network
	dir   string
	peers []string
	nodes map[string]*Coordinator
	tool  *client.Client
	fakes []*fake
	tune  func(*Config) // what is not as usual
}

// bubble runs a test on fake time, with a cluster of n coordinators.
func bubble(t *testing.T, n int, f func(*testing.T, *cluster)) { tuned(t, n, func(*Config) {}, f) }

// tuned is bubble, of coordinators whose configuration is changed.
func tuned(t *testing.T, n int, tune func(*Config), f func(*testing.T, *cluster)) {
	dir := t.TempDir()
	faketime.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: memnet.New(), dir: dir, nodes: map[string]*Coordinator{}, tune: tune}
		for i := range n {
			c.peers = append(c.peers, fmt.Sprintf("127.0.0.1:%d", 7001+i))
		}
		for _, p := range c.peers {
			c.start(p)
		}
		if n > 0 {
			c.tool = c.client("tool")
		}
		defer func() {
			for _, f := range c.fakes {
				f.close()
			}
			for a := range c.nodes {
				c.stop(a)
			}
			if err := c.tool.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, c)
	})
}

func (c *cluster) config(addr string) Config {
	cfg := DefaultConfig()
	cfg.Bind, cfg.Peers, cfg.Token, cfg.Dir = addr, c.peers, testToken, filepath.Join(c.dir, strings.ReplaceAll(addr, ":", "-"))
	cfg.Listen, cfg.Dial = c.net.Listen, c.net.Dialer(addr)
	c.tune(&cfg)
	return cfg
}

func (c *cluster) start(addr string) *Coordinator { return c.startWith(c.config(addr)) }

func (c *cluster) startWith(cfg Config) *Coordinator {
	c.t.Helper()
	n, err := Start(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[cfg.Bind] = n
	return n
}

func (c *cluster) stop(addr string) {
	c.t.Helper()
	if err := c.nodes[addr].Close(); err != nil {
		c.t.Errorf("close %s: %v", addr, err)
	}
	delete(c.nodes, addr)
}

func (c *cluster) wipe(addr string) {
	c.t.Helper()
	if err := os.RemoveAll(c.config(addr).Dir); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) client(host string) *client.Client {
	c.t.Helper()
	cl, err := client.Dial(c.peers, testToken, client.Options{Dialer: c.net.Dialer(host)})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// eventually waits, on the bubble's clock, until ok.
func (c *cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
		synctest.Wait()
	}
	c.t.Fatalf("after 30 s still not: %s", what)
}

// leader is the node that leads, once there is one.
func (c *cluster) leader() *Coordinator {
	c.t.Helper()
	var found *Coordinator
	c.eventually("a leader", func() bool {
		for a, n := range c.nodes {
			if n.Leading() && !c.net.IsCut(a) {
				found = n
			}
		}
		return found != nil
	})
	return found
}

// same waits until all nodes that are on the network have the same state.
func (c *cluster) same() {
	c.t.Helper()
	c.eventually("equal replicas", func() bool {
		seen := map[string]bool{}
		for a, n := range c.nodes {
			if c.net.IsCut(a) {
				continue
			}
			index, hash, err := n.StateHash()
			if err != nil {
				c.t.Fatal(err)
			}
			seen[fmt.Sprint(index, hash)] = true
		}
		return len(seen) == 1
	})
}

// check wants the invariants of all replicas to hold.
func (c *cluster) check() {
	c.t.Helper()
	for a, n := range c.nodes {
		n.fsm.mu.Lock()
		err := n.fsm.s.Check()
		n.fsm.mu.Unlock()
		if err != nil {
			c.t.Fatalf("coordinator %s: %v", a, err)
		}
	}
}

func spec(t *testing.T, change func(*job.Spec)) []byte {
	t.Helper()
	s, err := job.Default("tiny")
	if err != nil {
		t.Fatal(err)
	}
	s.Name = "test"
	s.What.Data, s.What.DataDigest, s.How.Store = "file:///data", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "file:///store"
	s.What.Steps, s.What.Epochs = 100, 0
	s.What.Shards = 6
	s.How.Workers = job.Workers{Min: 1, Max: 3}
	s.How.Checkpoint.Keep = 2
	if change != nil {
		change(&s)
	}
	text, err := job.Canonical(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func workers(lo, hi int) func(*job.Spec) {
	return func(s *job.Spec) { s.How.Workers = job.Workers{Min: lo, Max: hi} }
}

func (c *cluster) submit(key string, text []byte) *rpcpb.JobInfo {
	c.t.Helper()
	j, err := c.tool.Submit(c.t.Context(), &rpcpb.SubmitJobRequest{Key: key, Spec: text})
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

func (c *cluster) get(id string) *rpcpb.JobInfo {
	c.t.Helper()
	j, err := c.tool.Get(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

func (c *cluster) control(id string, a rpcpb.JobAction) {
	c.t.Helper()
	if _, err := c.tool.Control(c.t.Context(), id, a); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) wantState(id string, want rpcpb.JobState) *rpcpb.JobInfo {
	c.t.Helper()
	var j *rpcpb.JobInfo
	c.eventually("job "+want.String(), func() bool { j = c.get(id); return j.State == want })
	return j
}

// fake is a worker without arithmetic: it speaks the protocol, and the test says what it does.
type fake struct {
	c       *cluster
	id      string
	client  *client.Client
	a       *client.Attachment
	mu      sync.Mutex
	holding *rpcpb.Holding
	got     []*rpcpb.AttachResponse // not yet taken by the test
	streams int
	closed  bool
	done    chan struct{}
}

func (c *cluster) worker(id string) *fake { return c.workerProcess(id, id+"-1") }

func (c *cluster) workerProcess(id, incarnation string) *fake {
	f := &fake{c: c, id: id, client: c.client(id), done: make(chan struct{})}
	f.a = f.client.Attach(context.Background(), func() *rpcpb.Register {
		f.mu.Lock()
		defer f.mu.Unlock()
		return &rpcpb.Register{WorkerId: id, Incarnation: incarnation, Address: id + ":1", Host: id, Device: "cpu", NumericsClass: "k", Holding: f.holding}
	}, func() uint64 { return 1 })
	c.fakes = append(c.fakes, f)
	go f.listen()
	return f
}

func (f *fake) listen() {
	defer close(f.done)
	for e := range f.a.Events() {
		f.mu.Lock()
		if e.Connected != nil {
			f.streams++
		}
		if e.Message != nil {
			f.got = append(f.got, e.Message)
			if p := e.Message.GetPrepare(); p != nil {
				_ = f.a.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Prepared{Prepared: &rpcpb.Prepared{JobId: p.JobId}}}) // lost: it is asked again on the next stream
			}
			if as := e.Message.GetAssign(); as != nil {
				f.holding = &rpcpb.Holding{JobId: as.JobId, Generation: as.Generation, Step: as.ResumeStep}
			}
			if e.Message.GetRelease() != nil {
				f.holding = nil
			}
		}
		f.mu.Unlock()
	}
}

// kill ends the worker as SIGKILL does.
func (f *fake) kill() {
	f.c.net.Cut(f.id, true)
	f.close()
	f.c.net.Cut(f.id, false)
}

func (f *fake) close() {
	if f.closed {
		return
	}
	f.closed = true
	if err := f.a.Close(); err != nil {
		f.c.t.Errorf("worker %s: %v", f.id, err)
	}
	<-f.done
	if err := f.client.Close(); err != nil {
		f.c.t.Error(err)
	}
}

// take waits for the next message of a kind; others stay. (The kind is a getter: nil for other messages.)
func take[M any](f *fake, get func(*rpcpb.AttachResponse) *M) *M {
	f.c.t.Helper()
	var out *M
	f.c.eventually(fmt.Sprintf("worker %s: a %T", f.id, out), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, m := range f.got {
			if out = get(m); out != nil {
				f.got = append(f.got[:i:i], f.got[i+1:]...)
				return true
			}
		}
		return false
	})
	return out
}

func (f *fake) assign() *rpcpb.Assign {
	f.c.t.Helper()
	return take(f, (*rpcpb.AttachResponse).GetAssign)
}

// quiet fails the test if a message of that kind has come.
func quiet[M any](f *fake, get func(*rpcpb.AttachResponse) *M) {
	f.c.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.got {
		if get(m) != nil {
			f.c.t.Fatalf("worker %s was sent %v", f.id, m)
		}
	}
}

func (f *fake) send(m *rpcpb.AttachRequest) {
	f.c.t.Helper()
	if err := f.a.Send(m); err != nil {
		f.c.t.Fatal(err)
	}
}

func (f *fake) left(a *rpcpb.Assign, step int64, reason rpcpb.LeftReason, culprit, how string) {
	f.c.t.Helper()
	f.mu.Lock()
	f.holding = &rpcpb.Holding{JobId: a.JobId, Generation: a.Generation, Step: step, Left: true, Reason: reason, Culprit: culprit, How: how}
	f.mu.Unlock()
	f.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Left{Left: &rpcpb.Left{JobId: a.JobId, Generation: a.Generation, Step: step, Reason: reason, Culprit: culprit, How: how}}})
}

func (f *fake) progress(a *rpcpb.Assign, step int64) {
	f.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Progress{Progress: &rpcpb.Progress{JobId: a.JobId, Generation: a.Generation, Step: step, Loss: .5}}})
}

func (f *fake) parts(a *rpcpb.Assign, step int64, digest string, final, pause bool) {
	f.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_PartsWritten{PartsWritten: &rpcpb.PartsWritten{JobId: a.JobId, Generation: a.Generation, Step: step,
		StateDigest: digest, Final: final, Pause: pause, Files: []*rpcpb.FileInfo{{Name: f.id + ".safetensors", Size: 1, Sha256: "s"}}}}})
}

func (f *fake) manifest(a *rpcpb.Assign, step int64, digest string) {
	f.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_ManifestWritten{ManifestWritten: &rpcpb.ManifestWritten{JobId: a.JobId, Generation: a.Generation,
		Checkpoint: &rpcpb.CheckpointInfo{Step: step, Directory: fmt.Sprintf("step-%08d-%s", step, digest), StateDigest: digest, ManifestSha256: "m"}}}})
}

// checkpoint writes a checkpoint with the whole gang, rank 0 first, up to the commit.
func checkpoint(a *rpcpb.Assign, step int64, digest string, final, pause bool, gang ...*fake) []*rpcpb.Committed {
	for _, f := range gang {
		f.parts(a, step, digest, final, pause)
	}
	take(gang[0], (*rpcpb.AttachResponse).GetWriteManifest)
	gang[0].manifest(a, step, digest)
	var out []*rpcpb.Committed
	for _, f := range gang {
		out = append(out, take(f, (*rpcpb.AttachResponse).GetCommitted))
	}
	return out
}
