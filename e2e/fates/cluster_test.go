package fates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/coordinator"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/internal/faketime"
	"github.com/ringleader-dev/ringleader/internal/memnet"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
	"github.com/ringleader-dev/ringleader/worker"
)

// home has the data set of all tests and its cache, written and decoded before any bubble: the decoder keeps what must not be shared by bubbles.
var home, dataDigest string

func TestMain(m *testing.M) {
	err := prepare()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err = errors.Join(err, os.RemoveAll(home)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

func prepare() (err error) {
	if home, err = os.MkdirTemp("", "ringleader-fates-"); err != nil {
		return err
	}
	meta, err := synth.Write(filepath.Join(home, "data"), synth.Options{Users: 90, Items: 60, Seed: 5})
	if err != nil {
		return err
	}
	dataDigest = meta.Digest
	source, err := file.Open(filepath.Join(home, "data"))
	if err != nil {
		return err
	}
	defer source.Close()
	data, err := dataset.Open(context.Background(), source, filepath.Join(home, "cache", "data"))
	if err != nil {
		return err
	}
	return data.Close()
}

const token = rpcauth.Token("a token for tests only")

// steps is the length of the tests' jobs; they write a checkpoint every 4.
const steps = 10

// cluster is one coordinator and workers in this process, on fake time and a network in memory; Raft, gRPC and gradients are real.
type cluster struct {
	*testing.T
	net     *memnet.Network
	node    *coordinator.Coordinator
	tool    *client.Client
	store   *mem.Store // the jobs' checkpoints
	set     []string   // fields of all jobs
	devices []*device
	workers []*process
	ghosts  []func()
	running sync.WaitGroup
}

// address of the coordinator.
const address = "127.0.0.1:7001"

func inCluster(t *testing.T, f func(c *cluster)) {
	t.Helper()
	dir := t.TempDir()
	faketime.Test(t, func(t *testing.T) {
		c := &cluster{T: t, net: memnet.New(), store: mem.New()}
		c.coordinate(dir)
		var err error
		if c.tool, err = client.Dial([]string{address}, token, client.Options{Dialer: c.net.Dialer("tool")}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			for _, w := range c.workers {
				w.stop()
			}
			for _, end := range c.ghosts {
				end()
			}
			c.running.Wait()
			for _, d := range c.devices {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := c.tool.Close(); err != nil {
				t.Error(err)
			}
			if err := c.node.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(c)
	})
}

// coordinate starts the coordinator on what is in a directory.
func (c *cluster) coordinate(dir string) {
	c.Helper()
	cfg := coordinator.DefaultConfig()
	cfg.Bind, cfg.Token, cfg.Dir = address, token, dir
	cfg.Listen, cfg.Dial = c.net.Listen, c.net.Dialer(address)
	var err error
	if c.node, err = coordinator.Start(cfg); err != nil {
		c.Fatal(err)
	}
}

// refound puts a new cluster in the place of this one: the coordinator has lost its disk, and its workers live on.
func (c *cluster) refound() {
	c.Helper()
	if err := c.node.Close(); err != nil {
		c.Fatal(err)
	}
	c.coordinate(c.TempDir())
}

// process is a worker. At the steps in holds it waits, once each, until the test lets it go on.
type process struct {
	worker.Observer
	c     *cluster
	name  string
	stop  context.CancelFunc
	ended chan error // what Run returned

	listener net.Listener
	held     chan ringleader.Step
	holds    map[ringleader.Step]chan struct{}

	mu      sync.Mutex
	widened []ringleader.Step // steps that took a second pass
}

func (w *process) widenedSteps() []ringleader.Step {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.widened)
}

// Completed implements worker.Observer.
func (w *process) Completed(ctx context.Context, s worker.StepReport) {
	if s.Widened {
		w.mu.Lock()
		w.widened = append(w.widened, s.Step)
		w.mu.Unlock()
	}
	gate := w.holds[s.Step]
	if gate == nil {
		return
	}
	select {
	case w.held <- s.Step:
	case <-gate:
		return // it was here before
	case <-ctx.Done():
		return
	}
	select {
	case <-gate:
	case <-ctx.Done():
	}
}

// worker starts a worker on a device of its own.
func (c *cluster) worker(name string, holds ...ringleader.Step) *process {
	c.Helper()
	return c.workerOn(c.device(), name, holds...)
}

func (c *cluster) workerOn(dev *device, name string, holds ...ringleader.Step) *process {
	c.Helper()
	return c.observed(worker.Ignore{}, dev, name, holds...)
}

// observed is workerOn, with an observer of all but completed steps.
func (c *cluster) observed(by worker.Observer, dev *device, name string, holds ...ringleader.Step) *process {
	c.Helper()
	host := name + ":1"
	l, err := c.net.Listen(host)
	if err != nil {
		c.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &process{Observer: by, c: c, name: name, stop: stop, ended: make(chan error, 1), listener: l, held: make(chan ringleader.Step), holds: map[ringleader.Step]chan struct{}{}}
	for _, s := range holds {
		w.holds[s] = make(chan struct{})
	}
	c.workers = append(c.workers, w)
	c.running.Go(func() {
		w.ended <- worker.Run(ctx, worker.Config{
			ID: ringleader.WorkerID(name), Host: name, Coordinators: []string{address}, Token: token, Listener: l, Advertise: host,
			Dir: filepath.Join(home, "cache"), Device: dev, OpenStore: c.open, Log: slog.New(slog.DiscardHandler), Observer: w, Dial: c.net.Dialer(host),
		})
	})
	return w
}

// open serves the data set from its directory and everything else from the store in memory.
func (c *cluster) open(_ context.Context, url string) (checkpoints.Store, error) {
	if filepath.Base(url) == "data" {
		return file.Open(url)
	}
	return c.store, nil
}

// power cuts a worker off and ends it, so that nobody hears of it any more.
func (c *cluster) power(w *process) {
	c.net.Cut(w.name+":1", true)
	w.stop()
}

// ghost is a worker that attaches and does nothing, or ends as soon as it is assigned to a gang.
func (c *cluster) ghost(name string, ends bool) {
	c.Helper()
	cl, err := client.Dial([]string{address}, token, client.Options{Dialer: c.net.Dialer(name)})
	if err != nil {
		c.Fatal(err)
	}
	class := c.devices[0].Class()
	a := cl.Attach(context.Background(), func() *rpcpb.Register {
		return &rpcpb.Register{WorkerId: name, Incarnation: name, Address: name + ":1", Host: name, Device: "cpu", NumericsClass: class}
	}, func() uint64 { return 1 })
	end := sync.OnceFunc(func() {
		if err := errors.Join(a.Close(), cl.Close()); err != nil {
			c.Error(err)
		}
	})
	c.ghosts = append(c.ghosts, end)
	c.running.Go(func() {
		for e := range a.Events() {
			if p := e.Message.GetPrepare(); p != nil {
				_ = a.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Prepared{Prepared: &rpcpb.Prepared{JobId: p.JobId}}}) // lost: it is asked again on the next stream
			}
			if e.Message.GetAssign() != nil && ends {
				go end()
			}
		}
	})
}

// joinAfter lets ws go on from a step, and waits at a later one until they have been asked to make room for whoever has attached.
func (c *cluster) joinAfter(step, later ringleader.Step, ws ...*process) {
	c.Helper()
	c.eventually("one more worker attached", func() bool { return c.attached() == len(ws)+1 })
	c.goOn(step, ws...)
	c.at(later, ws...)
	<-time.After(time.Second) // longer than a joiner is left waiting for others
	synctest.Wait()
	c.goOn(later, ws...)
}

// refusePuts makes the store refuse all writes, as one that is away does.
func (c *cluster) refusePuts() {
	c.store.Inject(func(op mem.Op) mem.Fault {
		if op.Kind == "put" {
			return mem.Fault{Err: checkpoints.ErrUnavailable}
		}
		return mem.Fault{}
	})
}

// at waits until the workers wait at a step.
func (c *cluster) at(step ringleader.Step, ws ...*process) {
	c.Helper()
	for _, w := range ws {
		select {
		case got := <-w.held:
			if got != step {
				c.Fatalf("%s waits at step %d, want %d", w.name, got, step)
			}
		case <-time.After(time.Minute):
			c.Fatalf("%s does not come to step %d", w.name, step)
		}
	}
}

// goOn lets workers go on from a step, also those that are still to come there.
func (c *cluster) goOn(step ringleader.Step, ws ...*process) {
	for _, w := range ws {
		close(w.holds[step])
	}
}

// submit waits until n workers are attached and submits the job of the tests; set overrides its fields.
func (c *cluster) submit(n int, set ...string) *rpcpb.JobInfo {
	c.Helper()
	return c.request(n, &rpcpb.SubmitJobRequest{}, set...)
}

// resume is submit of a job that begins with a checkpoint.
func (c *cluster) resume(n int, url string, step int64, set ...string) *rpcpb.JobInfo {
	c.Helper()
	return c.request(n, &rpcpb.SubmitJobRequest{ResumeUrl: url, ResumeStep: step}, set...)
}

func (c *cluster) request(n int, req *rpcpb.SubmitJobRequest, set ...string) *rpcpb.JobInfo {
	c.Helper()
	c.eventually(fmt.Sprintf("%d workers attached", n), func() bool { return c.attached() == n })
	spec, err := job.Parse([]byte("name: test"), home, append([]string{"what.data=data", "what.data_digest=" + dataDigest, "what.model.preset=tiny",
		"what.shards=6", "what.users_per_shard=2", fmt.Sprintf("what.steps=%d", steps), "how.store=store", "how.workers.max=3", "how.checkpoint.every=4"}, slices.Concat(c.set, set)...)...)
	if err != nil {
		c.Fatal(err)
	}
	canonical, err := job.Canonical(spec)
	if err != nil {
		c.Fatal(err)
	}
	req.Key, req.Spec = req.ResumeUrl+" "+strings.Join(set, " "), canonical
	j, err := c.tool.Submit(c.Context(), req)
	if err != nil {
		c.Fatal(err)
	}
	return j
}

func (c *cluster) attached() int {
	info, err := c.tool.Cluster(c.Context())
	n := 0
	for _, w := range info.GetWorkers() {
		if w.Attached && err == nil {
			n++
		}
	}
	return n
}

func (c *cluster) control(j *rpcpb.JobInfo, action rpcpb.JobAction) {
	c.Helper()
	if _, err := c.tool.Control(c.Context(), j.Id, action); err != nil {
		c.Fatal(err)
	}
}

// eventually waits on the cluster's clock.
func (c *cluster) eventually(what string, ok func() bool) {
	c.Helper()
	for range 6000 {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	c.Fatalf("after a minute still not: %s", what)
}

// until waits for a state of a job and returns the job as it is then.
func (c *cluster) until(j *rpcpb.JobInfo, want rpcpb.JobState) *rpcpb.JobInfo {
	c.Helper()
	c.eventually(fmt.Sprintf("job %s %s", j.Id, want), func() bool {
		now, err := c.tool.Get(c.Context(), j.Id)
		if err == nil {
			j = now
		}
		if j.State != want && (j.EndedMs != 0 || time.Since(time.UnixMilli(j.SubmittedMs)) > 50*time.Second) {
			c.Fatalf("job is %s: %s; want %s; history:\n%s", j.State, j.Reason, want, history(j))
		}
		return j.State == want
	})
	return j
}

// succeed waits for a job's success and returns it with its final state digest.
func (c *cluster) succeed(j *rpcpb.JobInfo) (*rpcpb.JobInfo, string) {
	c.Helper()
	j = c.until(j, rpcpb.JobState_JOB_STATE_SUCCEEDED)
	last := j.Checkpoints[len(j.Checkpoints)-1]
	if last.Step != steps || !last.Final {
		c.Errorf("the newest checkpoint is of step %d, final %v; want %d, true", last.Step, last.Final, steps)
	}
	return j, last.StateDigest
}

// history is everything that the job says about itself.
func history(j *rpcpb.JobInfo) string {
	var b strings.Builder
	for _, e := range j.Events {
		fmt.Fprintln(&b, e.Text)
	}
	return b.String()
}

// says waits until a job's history has a text.
func (c *cluster) says(j *rpcpb.JobInfo, text string) {
	c.Helper()
	c.eventually(fmt.Sprintf("%q in the job's history", text), func() bool {
		now, err := c.tool.Get(c.Context(), j.Id)
		return err == nil && strings.Contains(history(now), text)
	})
}

// wantHistory wants lines in a job's history.
func (c *cluster) wantHistory(j *rpcpb.JobInfo, parts ...string) {
	c.Helper()
	for _, p := range parts {
		if !strings.Contains(history(j), p) {
			c.Errorf("no %q in the history:\n%s", p, history(j))
		}
	}
}
