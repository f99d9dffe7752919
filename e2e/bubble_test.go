package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/coordinator"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/internal/faketime"
	"github.com/ringleader-dev/ringleader/internal/memnet"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
	"github.com/ringleader-dev/ringleader/worker"
)

const bubbleToken = rpcauth.Token("a token for tests only")

// bubble is a whole cluster in this process, on fake time and a network in memory: real Raft, real gRPC, real gradients.
type bubble struct {
	t       *testing.T
	dir     string
	digest  string // of the data set
	net     *memnet.Network
	peers   []string
	nodes   map[string]*coordinator.Coordinator
	client  *client.Client
	workers map[string]*bubbleWorker
	done    sync.WaitGroup
}

type bubbleWorker struct {
	worker.Ignore
	b      *bubble
	name   string
	cancel context.CancelFunc
	steps  chan ringleader.Step // receives a step that is in pauses, then waits for go
	pauses map[ringleader.Step]chan struct{}
}

// Completed implements worker.Observer: it hands control to the test at the steps it asked for.
func (w *bubbleWorker) Completed(ctx context.Context, s worker.StepReport) {
	gate := w.pauses[s.Step]
	if gate == nil {
		return
	}
	select {
	case w.steps <- s.Step:
	case <-ctx.Done():
	}
	select {
	case <-gate:
	case <-ctx.Done():
	}
}

func inBubble(t *testing.T, f func(t *testing.T, b *bubble)) {
	dir := t.TempDir()
	digest := bubbleData(t, dir)
	faketime.Test(t, func(t *testing.T) {
		b := &bubble{t: t, dir: dir, digest: digest, net: memnet.New(), nodes: map[string]*coordinator.Coordinator{}, workers: map[string]*bubbleWorker{},
			peers: []string{"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"}}
		for _, p := range b.peers {
			cfg := coordinator.DefaultConfig()
			cfg.Bind, cfg.Peers, cfg.Token, cfg.Dir = p, b.peers, bubbleToken, filepath.Join(dir, "coordinator-"+p[len(p)-1:])
			cfg.Listen, cfg.Dial = b.net.Listen, b.net.Dialer(p)
			node, err := coordinator.Start(cfg)
			if err != nil {
				t.Fatal(err)
			}
			b.nodes[p] = node
		}
		var err error
		if b.client, err = client.Dial(b.peers, bubbleToken, client.Options{Dialer: b.net.Dialer("tool")}); err != nil {
			t.Fatal(err)
		}
		f(t, b)
		for _, w := range b.workers {
			w.cancel()
		}
		b.done.Wait()
		if err := b.client.Close(); err != nil {
			t.Error(err)
		}
		for _, n := range b.nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// bubbleData writes a data set and decodes it into the cache, before there is a bubble: the library for compression keeps what must not
// cross the border of one. It returns the content digest.
func bubbleData(t *testing.T, dir string) string {
	t.Helper()
	meta, err := synth.Write(filepath.Join(dir, "data"), synth.Options{Users: 120, Items: 80, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	source, err := file.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	data, err := dataset.Open(t.Context(), source, filepath.Join(dir, "cache", "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	return meta.Digest
}

// worker starts a worker that pauses at the given steps.
func (b *bubble) worker(name string, pauses ...ringleader.Step) *bubbleWorker {
	b.t.Helper()
	addr := name + ":1"
	l, err := b.net.Listen(addr)
	if err != nil {
		b.t.Fatal(err)
	}
	dev, err := cpu.Open(cpu.Options{Lanes: 1})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &bubbleWorker{b: b, name: name, cancel: cancel, steps: make(chan ringleader.Step), pauses: map[ringleader.Step]chan struct{}{}}
	for _, s := range pauses {
		w.pauses[s] = make(chan struct{})
	}
	b.workers[name] = w
	b.done.Go(func() {
		err := worker.Run(ctx, worker.Config{
			ID: ringleader.WorkerID(name), Host: name, Coordinators: b.peers, Token: bubbleToken, Listener: l, Advertise: addr,
			Dir: filepath.Join(b.dir, "cache"), Device: dev, OpenStore: openFile, Log: slog.New(slog.DiscardHandler), Observer: w, Dial: b.net.Dialer(addr),
		})
		if err != nil {
			b.t.Errorf("%s: %v", name, err)
		}
		if err := dev.Close(); err != nil {
			b.t.Errorf("%s: %v", name, err)
		}
	})
	return w
}

func openFile(_ context.Context, url string) (checkpoints.Store, error) { return file.Open(url) }

// power cuts a worker's power: off the network first, so that nothing it does on its way out is seen.
func (b *bubble) power(w *bubbleWorker) {
	b.net.Cut(w.name+":1", true)
	w.cancel()
}

// eventually waits on the bubble's clock.
func (b *bubble) eventually(what string, ok func() bool) {
	b.t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	b.t.Fatalf("after a minute still not: %s", what)
}

// submit waits until n workers are attached and submits a job of so many steps.
func (b *bubble) submit(name string, workers, steps int) *rpcpb.JobInfo {
	b.t.Helper()
	b.eventually(fmt.Sprintf("%d workers attached", workers), func() bool {
		info, err := b.client.Cluster(b.t.Context())
		n := 0
		for _, w := range info.GetWorkers() {
			if w.Attached {
				n++
			}
		}
		return err == nil && n == workers
	})
	spec, err := job.Parse([]byte("name: bubble"), b.dir, "what.data=data", "what.data_digest="+b.digest, "what.model.preset=tiny", "what.shards=6",
		"what.users_per_shard=2", fmt.Sprintf("what.steps=%d", steps), "how.store="+name, "how.workers.max=3", "how.checkpoint.every=7")
	if err != nil {
		b.t.Fatal(err)
	}
	canonical, err := job.Canonical(spec)
	if err != nil {
		b.t.Fatal(err)
	}
	j, err := b.client.Submit(b.t.Context(), &rpcpb.SubmitJobRequest{Key: name, Spec: canonical})
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// finish waits for a job's end and returns its digest.
func (b *bubble) finish(j *rpcpb.JobInfo) string {
	b.t.Helper()
	err := b.client.Watch(b.t.Context(), j.Id, func(now *rpcpb.JobInfo) error { j = now; return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	if j.State != rpcpb.JobState_JOB_STATE_SUCCEEDED || len(j.Checkpoints) == 0 {
		b.t.Fatalf("job %s: %s, %s; events %v", j.Id, j.State, j.Reason, j.Events)
	}
	return j.Checkpoints[len(j.Checkpoints)-1].StateDigest
}

// TestBubble: a worker without power, a leader without power and a joiner, in one process and on fake time, against a run of one worker.
func TestBubble(t *testing.T) {
	var disturbed, alone string
	inBubble(t, func(t *testing.T, b *bubble) {
		first, second, third := b.worker("w0", 10, 20, 25), b.worker("w1", 10), b.worker("w2", 10, 20, 25)
		j := b.submit("disturbed", 3, 40)
		at := func(step ringleader.Step, ws ...*bubbleWorker) {
			for _, w := range ws {
				if got := <-w.steps; got != step {
					t.Errorf("%s waits at step %d, want %d", w.name, got, step)
				}
			}
		}
		resume := func(step ringleader.Step, ws ...*bubbleWorker) {
			for _, w := range ws {
				close(w.pauses[step])
			}
		}
		at(10, first, second, third)
		b.power(second)
		resume(10, first, third)

		at(20, first, third)
		for p, n := range b.nodes {
			if n.Leading() {
				b.net.Cut(p, true)
			}
		}
		resume(20, first, third)

		at(25, first, third)
		b.worker("w3")
		resume(25, first, third)
		disturbed = b.finish(j)
	})
	inBubble(t, func(t *testing.T, b *bubble) {
		b.worker("w0")
		alone = b.finish(b.submit("alone", 1, 40))
	})
	if disturbed != alone || disturbed == "" {
		t.Errorf("state digest %q disturbed, %q alone", disturbed, alone)
	}
}
