package worker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// classOnly is a device that nothing is computed on.
type classOnly struct{ device.Device }

func (classOnly) Class() string { return "cpu/test" }

// alone is the saver of a gang of one whose leader cannot be reached: what it sends stays in the queue.
func alone(t *testing.T, store checkpoints.Store) *saver {
	t.Helper()
	g, ctx := assigned(1, 0)
	nobody := func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody is there") }
	cl, err := client.Dial([]string{"127.0.0.1:1"}, rpcauth.Token("a token for tests only"), client.Options{Dialer: nobody})
	if err != nil {
		t.Fatal(err)
	}
	a := g.agent
	a.overdue = make(chan map[string][]string, 1)
	a.overdue <- map[string][]string{}
	a.cfg = Config{Device: classOnly{}, Log: slog.New(slog.DiscardHandler),
		OpenStore: func(context.Context, string) (checkpoints.Store, error) { return store, nil }}
	attached, stop := context.WithCancel(t.Context())
	a.attachment = cl.Attach(attached, a.register, a.beat.Load)
	g.spec.How.Deadlines.Store = job.Duration(time.Minute)
	s := newSaver(ctx, g)
	t.Cleanup(func() {
		s.close()
		stop()
		for range a.attachment.Events() {
		}
		if err := cl.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestLateManifest: the manifest of a checkpoint is written when the next one, the last, has been announced already. The last one's is
// written all the same when it is asked for.
func TestLateManifest(t *testing.T) {
	store := mem.New()
	s := alone(t, store)
	announced := map[ringleader.Step]*share{}
	for _, step := range []ringleader.Step{5, 6} {
		x := []checkpoints.Tensor{{Name: "w", Shape: []int{2}, Data: []float32{float32(step), 2}}}
		sh, err := s.plan(&checkpoints.State{Step: step, Params: x, Moment1: x, Moment2: x}, kindFinal)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range sh.parts {
			if err := s.put(t.Context(), sh, p); err != nil {
				t.Fatal(err)
			}
		}
		s.announce(sh)
		announced[step] = sh
	}
	ask := func(sh *share) *rpcpb.WriteManifest {
		return &rpcpb.WriteManifest{JobId: "job", Generation: 3, Step: int64(sh.state.Step), Files: toProto(sh.files)}
	}
	s.manifest(t.Context(), announced[5], ask(announced[5]))
	s.partsComplete(ask(announced[6]))
	s.wg.Wait()
	for step, sh := range announced {
		if problems := checkpoints.Verify(t.Context(), store, sh.dir); len(problems) > 0 {
			t.Errorf("checkpoint at step %d: %v", step, problems)
		}
	}
}

// TestOvertakenGoes: what was written of a checkpoint that the last one of the job overtakes is removed, though the commit ends the generation.
func TestOvertakenGoes(t *testing.T) {
	store := mem.New()
	s := alone(t, store)
	const dir, part = "step-00000005-00000000", "model-00001-of-00001.safetensors"
	name := path.Join(dir, part)
	if err := store.Put(t.Context(), name, strings.NewReader("part"), 4, nil, false); err != nil {
		t.Fatal(err)
	}
	s.litter.add(5, dir, part)
	s.committed(&rpcpb.Committed{Step: 6})
	s.cancel()
	s.generation.agent.retired.Wait()
	if _, err := store.Stat(t.Context(), name); !errors.Is(err, checkpoints.ErrNotExist) {
		t.Errorf("%s is left behind: %v", name, err)
	}
}
