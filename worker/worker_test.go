package worker

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// What a worker does in a gang is tested in e2e/fates: with a coordinator.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValidate(t *testing.T) {
	err := Run(t.Context(), Config{ID: "w0"})
	for _, field := range []string{"Coordinators", "Token", "Listener", "Advertise", "Dir", "Device", "OpenStore", "Log"} {
		if err == nil || !strings.Contains(err.Error(), field+" is not set") {
			t.Errorf("%v: does not name %s", err, field)
		}
	}
}

// assigned is a generation of n members, as rank r sees it.
func assigned(n int, r ringleader.Rank, addresses ...string) (*generation, context.Context) {
	as := &rpcpb.Assign{JobId: "job", Generation: 3}
	for i := range n {
		m := &rpcpb.Member{WorkerId: string(rune('a' + i)), Shards: []int32{int32(i)}}
		if i < len(addresses) {
			m.Address = addresses[i]
		}
		as.Members = append(as.Members, m)
	}
	ctx, leave := context.WithCancelCause(context.Background())
	return newGeneration(&agent{peers: newPeers(rpcauth.Token("a token for tests only"), nil)}, as, r, leave), ctx
}

// TestRefusedConnection: a member that takes no connection is gone; dialling must not go on until the deadline.
func TestRefusedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	g, ctx := assigned(2, 0, "", address)
	defer g.agent.peers.close()
	if link, err := g.dial(ctx, 1); link != nil || !errors.Is(err, errRefused) {
		t.Errorf("dialled %v, %v: want %v", link, err, errRefused)
	}
	before, err := g.agent.peers.conn(address)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := g.agent.peers.conn(address); err != nil || again != before {
		t.Errorf("a connection that may be good is not used again: %v", err)
	}
}

// TestOutlives: what ends the one link before the ring stands ends the waiting for the other, with its cause.
func TestOutlives(t *testing.T) {
	never := make(chan struct{})
	for _, c := range []struct {
		name  string
		cause error
		want  ringleader.Rank
	}{
		{"the neighbour passes a fault on", &allreduce.Fault{Culprit: 2, HasCulprit: true, How: "cannot be reached"}, 2},
		{"the neighbour leaves", allreduce.ErrPlanned, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			mine, theirs := memlink.Pair()
			closed := make(chan error, 1)
			go func() { closed <- theirs.Close(c.cause) }()
			var fault *allreduce.Fault
			if err := outlives(t.Context(), mine, 1, never); !errors.As(err, &fault) || !fault.HasCulprit || fault.Culprit != c.want {
				t.Errorf("ended with %v: want a fault of rank %d", err, c.want)
			}
			if err := errors.Join(mine.Close(nil), <-closed); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	close(done)
	if err := outlives(t.Context(), nil, 1, never); err != nil {
		t.Errorf("a link that was never made: %v", err)
	}
}

// TestWantAway: before there is a ring to agree in, who is asked to leave leaves; afterwards it raises a flag, and stays.
func TestWantAway(t *testing.T) {
	g, ctx := assigned(2, 0)
	g.saver = newSaver(ctx, g)
	g.change(rpcpb.ChangeAction_CHANGE_ACTION_PAUSE)
	if ctx.Err() != nil {
		t.Error("a pause before the first step ends the generation")
	}
	g.change(rpcpb.ChangeAction_CHANGE_ACTION_REGROUP)
	if !errors.Is(context.Cause(ctx), errNotYet) {
		t.Errorf("asked to leave without a ring: %v", context.Cause(ctx))
	}
	g, ctx = assigned(2, 0)
	g.saver = newSaver(ctx, g)
	g.stands.Store(true)
	g.drain()
	g.change(rpcpb.ChangeAction_CHANGE_ACTION_CHECKPOINT)
	if ctx.Err() != nil {
		t.Error("asked to leave, a member of a standing ring left alone")
	}
	g.replica = &replica{Training: &Training{Engine: &Engine{}}}
	for i, want := range [][]exact.Flag{{exact.FlagRegroup, exact.FlagDrain, exact.FlagCheckpoint}, {exact.FlagRegroup, exact.FlagDrain}} {
		if got := g.takeWishes(); !slices.Equal(got, want) {
			t.Errorf("step %d: flags %v raised, want %v", i, got, want)
		}
	}
}

// TestExplain: nobody is blamed for what this worker was told to do, and its own trouble is its own.
func TestExplain(t *testing.T) {
	g, ctx := assigned(3, 1)
	fault := &allreduce.Fault{Culprit: 2, HasCulprit: true, Hung: true, How: "beat stood still"}
	var o outcome
	if o.explain(ctx, g, fault); o.culprit != "c" || !o.hung || o.failed != nil || o.how == "" {
		t.Errorf("a neighbour's fault: %+v", o)
	}
	o = outcome{}
	cut := &allreduce.Fault{Culprit: 2, HasCulprit: true, How: "link broke: receive from peer: " + status.Error(codes.Unavailable, "connection reset by peer").Error()}
	if o.explain(ctx, g, cut); !strings.HasSuffix(o.how, "link broke: receive from peer: connection reset by peer") {
		t.Errorf("a link that broke: %q", o.how)
	}
	o = outcome{}
	if o.explain(ctx, g, g.own(errors.New("out of memory"))); o.culprit != "b" || o.hung {
		t.Errorf("its own trouble: %+v", o)
	}
	o = outcome{}
	if o.explain(ctx, g, g.own(&jobError{errors.New("NaN")})); o.failed == nil || o.culprit != "" {
		t.Errorf("the job's trouble: %+v", o)
	}
	full := short(&device.OutOfMemory{Device: "cuda:0", Asked: 3 << 20, Free: 1 << 20, Total: 4 << 20}, shardSettings)
	o = outcome{}
	if o.explain(ctx, g, g.own(full)); o.failed != nil || o.culprit != "b" {
		t.Errorf("too little memory, while others may have enough: %+v", o)
	}
	g.size = 1
	o = outcome{}
	if o.explain(ctx, g, g.own(full)); o.failed == nil ||
		o.how != "allocate on cuda:0: asked for 3.0 MiB, free are 1.0 of 4.0 MiB; lower what.users_per_shard, what.model.window or what.negatives, or --lanes of the worker" {
		t.Errorf("too little memory of the only member: %+v", o)
	}
	g.leave(errSuperseded)
	o = outcome{}
	if o.explain(ctx, g, fault); o.culprit != "" || o.how != errSuperseded.Error() {
		t.Errorf("superseded: %+v", o)
	}
}

// TestLitter: only what was given up is removed, and never a complete checkpoint.
func TestLitter(t *testing.T) {
	store := mem.New()
	var l litter
	for step, dir := range map[ringleader.Step]string{1: "given-up", 2: "under-way", 3: "complete"} {
		store.Set(dir+"/part", []byte("x"))
		l.add(step, dir, "part")
	}
	store.Set("complete/"+checkpoints.ManifestName, []byte("x"))
	if !l.abandon(1) || !l.abandon(3) || l.abandon(4) {
		t.Error("abandon does not tell what there is to remove")
	}
	store.Inject(func(op mem.Op) mem.Fault {
		if op.Kind == "delete" {
			return mem.Fault{Err: checkpoints.ErrUnavailable}
		}
		return mem.Fault{}
	})
	if err := l.remove(t.Context(), store); !errors.Is(err, checkpoints.ErrUnavailable) {
		t.Errorf("removing from a store that is away: %v", err)
	}
	store.Inject(nil)
	if err := l.remove(t.Context(), store); err != nil {
		t.Error(err)
	}
	for name, there := range map[string]bool{"given-up/part": false, "under-way/part": true, "complete/part": true} {
		if (store.Bytes(name) != nil) != there {
			t.Errorf("%s is there: %v, want %v", name, !there, there)
		}
	}
}

func TestRate(t *testing.T) {
	var r rate
	if u, n := r.add(StepReport{Users: 10, Tokens: 100}); u != 0 || n != 0 {
		t.Errorf("rates %v, %v of a step without time", u, n)
	}
	var users float64
	for range 50 {
		users, _ = r.add(StepReport{Users: 10, Seconds: .5})
	}
	if users < 19 || users > 23 {
		t.Errorf("%v users a second, want about 20", users)
	}
}

// TestBusy: one checkpoint at a time, from its snapshot to its commit; but what nobody answers is not waited for for ever.
func TestBusy(t *testing.T) {
	g, ctx := assigned(2, 1)
	s := newSaver(ctx, g)
	if s.busy() {
		t.Error("busy without a checkpoint")
	}
	<-s.idle
	if !s.busy() {
		t.Error("not busy while parts are written")
	}
	s.release()
	s.share = &share{state: &checkpoints.State{Step: 4}, announced: time.Now()}
	g.spec.How.Deadlines.Store = 1 << 50
	if !s.busy() {
		t.Error("not busy before the commit")
	}
	s.share.announced = time.Now().Add(-attempts * time.Duration(1<<50))
	if s.busy() {
		t.Error("busy for ever")
	}
	s.share.announced = time.Now()
	s.committed(&rpcpb.Committed{Step: 4})
	if s.busy() {
		t.Error("busy after the commit")
	}
}

func TestWithinCap(t *testing.T) {
	for _, c := range []struct {
		isa, class string
		ok         bool
	}{
		{"", "cpu/amd64/amx/x", true}, {"avx2", "cpu/amd64/avx2/x", true}, {"avx512", "cpu/amd64/avx2/x", true}, {"avx2", "cpu/amd64/sse41/x", true},
		{"avx2", "cpu/amd64/avx512/x", false}, {"avx512_bf16", "cpu/amd64/amx/x", false}, {"amx", "cpu/amd64/best/x", false},
		{"avx2", "cuda/sm_90/x", true}, {"avx2", "another", true},
	} {
		if err := withinCap(c.isa, c.class); (err == nil) != c.ok {
			t.Errorf("cap %q, class %s: %v", c.isa, c.class, err)
		}
	}
}
