package allreduce_test

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ring is all members of a generation in one process.
type ring struct {
	groups []*allreduce.Group
	beats  []*atomic.Uint64
	// In memory: out[r] is rank r's end of the link to r+1, in[r] its end of the link from r-1.
	out, in []*memlink.Link
}

func config(n, r int) allreduce.Config {
	c := allreduce.DefaultConfig()
	c.Job, c.Generation = 0xFEED, 3
	c.Rank, c.Size = ringleader.Rank(r), n
	return c
}

// memRing makes a ring over memlink; change may be nil.
func memRing(t testing.TB, n int, change func(*allreduce.Config)) *ring {
	t.Helper()
	rg := &ring{out: make([]*memlink.Link, n), in: make([]*memlink.Link, n)}
	for r := range n {
		rg.out[r], rg.in[(r+1)%n] = memlink.Pair()
	}
	for r := range n {
		rg.add(t, n, change, rg.out[r], rg.in[r])
	}
	return rg
}

func (rg *ring) add(t testing.TB, n int, change func(*allreduce.Config), next, prev allreduce.Link) {
	t.Helper()
	c := config(n, len(rg.groups))
	if change != nil {
		change(&c)
	}
	if n == 1 {
		next, prev = nil, nil
	}
	g, err := allreduce.NewGroup(c, next, prev)
	if err != nil {
		t.Fatalf("new group: %v", err)
	}
	rg.groups = append(rg.groups, g)
	rg.beats = append(rg.beats, c.Beat)
	t.Cleanup(func() { g.Close(nil) })
}

// grpcNet is n workers on loopback, over which rings of successive generations are made.
type grpcNet struct {
	servers []*grpclink.Server
	stops   []func()           // take the worker of that index off the net
	conns   []*grpc.ClientConn // to the worker of that index
	gen     ringleader.Generation
}

func newGRPCNet(t testing.TB, n int) *grpcNet {
	t.Helper()
	const token rpcauth.Token = "a token of the tests"
	w := &grpcNet{}
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("listen: %v", err)
		}
		srv := grpc.NewServer(append(token.ServerOptions(), grpclink.ServerOptions()...)...)
		links := grpclink.NewServer()
		links.Register(srv)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), append(token.DialOptions(), grpclink.DialOptions()...)...)
		if err != nil {
			t.Fatalf("new client: %v", err)
		}
		w.stops = append(w.stops, srv.Stop)
		t.Cleanup(func() {
			if err := conn.Close(); err != nil && status.Code(err) != codes.Canceled {
				t.Errorf("close connection: %v", err)
			}
			srv.Stop()
			if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				t.Errorf("serve: %v", err)
			}
		})
		w.servers, w.conns = append(w.servers, links), append(w.conns, conn)
	}
	return w
}

// links are the ends of a new generation's links by rank.
func (w *grpcNet) links(t testing.TB, n int) (next, prev []allreduce.Link) {
	t.Helper()
	w.gen++
	next, prev = make([]allreduce.Link, n), make([]allreduce.Link, n)
	errs := make(chan error, 2*n)
	for r := range n {
		go func() {
			var err error
			h := grpclink.Hello{Job: 0xFEED, Generation: w.gen, From: ringleader.Rank(r)}
			next[r], err = grpclink.Dial(t.Context(), w.conns[(r+1)%n], h)
			errs <- err
		}()
		go func() {
			var err error
			prev[r], err = w.servers[r].Accept(t.Context(), 0xFEED, w.gen, ringleader.Rank((r+n-1)%n))
			errs <- err
		}()
	}
	for range 2 * n {
		if err := <-errs; err != nil {
			t.Fatalf("link up: %v", err)
		}
	}
	return next, prev
}

func (w *grpcNet) ring(t testing.TB, n int, change func(*allreduce.Config)) *ring {
	t.Helper()
	next, prev := w.links(t, n)
	rg := &ring{}
	for r := range n {
		if n == 1 {
			closeAll(next[r], prev[r])
		}
		rg.add(t, n, change, next[r], prev[r])
	}
	return rg
}

func closeAll(links ...allreduce.Link) {
	var wg sync.WaitGroup
	for _, l := range links {
		wg.Go(func() { _ = l.Close(nil) })
	}
	wg.Wait()
}

// each runs op in all members at once and returns their errors by rank.
func (rg *ring) each(op func(r int, g *allreduce.Group) error) []error {
	errs := make([]error, len(rg.groups))
	var wg sync.WaitGroup
	for r, g := range rg.groups {
		wg.Go(func() { errs[r] = op(r, g) })
	}
	wg.Wait()
	return errs
}

func noErrors(t testing.TB, errs []error) {
	t.Helper()
	for r, err := range errs {
		if err != nil {
			t.Fatalf("rank %d: %v", r, err)
		}
	}
}

// wantCulprit checks that err is a fault that blames one of ranks.
func wantCulprit(t testing.TB, who string, err error, ranks ...ringleader.Rank) {
	t.Helper()
	var f *allreduce.Fault
	if !errors.As(err, &f) {
		t.Errorf("%s: %v, want a fault", who, err)
		return
	}
	for _, r := range ranks {
		if f.HasCulprit && f.Culprit == r {
			return
		}
	}
	t.Errorf("%s: %v (culprit %t), want the culprit among ranks %v", who, f, f.HasCulprit, ranks)
}

func wantNoCulprit(t testing.TB, who string, err error) {
	t.Helper()
	var f *allreduce.Fault
	if !errors.As(err, &f) || f.HasCulprit {
		t.Errorf("%s: %v, want a fault that blames nobody", who, err)
	}
}

func rankName(r int) string { return fmt.Sprintf("rank %d", r) }

const hang = 2 * time.Second
