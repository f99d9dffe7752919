package worker

import (
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// holder serves the state of an engine, and returns its address.
func holder(t *testing.T, e *Engine) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	a := &agent{cfg: Config{ID: "holder"}, links: grpclink.NewServer(), replica: &replica{id: "job", Training: &Training{Engine: e}}}
	token := rpcauth.Token("a token for tests only")
	server := grpc.NewServer(append(append(token.ServerOptions(), grpclink.ServerOptions()...), grpc.WaitForHandlers(true))...)
	rpcpb.RegisterPeerServiceServer(server, &stateServer{agent: a})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestFetch: a state comes from several holders, and from the others if one has none of that step; one that is held stays until there is a better one.
func TestFetch(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	ahead := gangOf(t, rng, "exact16", 2, 4096)
	want := train(t, ahead, 5)
	behind := gangOf(t, rng, "exact16", 1, 4096)
	train(t, behind, 4)
	addresses := []string{"", holder(t, ahead[0].Engine), holder(t, behind[0].Engine), holder(t, ahead[1].Engine)}

	none := madeEngine(t, "exact16", 2, 4096, nil)
	none.forget()
	for _, c := range []struct {
		name string
		*Engine
	}{{"none held", none}, {"an older one held", behind[0].Engine}} { // in this order: the second one ends as a holder of the newer state
		t.Run(c.name, func(t *testing.T) {
			e := c.Engine
			g, ctx := assigned(4, 0, addresses...)
			defer g.agent.peers.close()
			g.replica = &replica{id: "job", Training: &Training{Engine: e}}
			before := e.at()

			g.assign.Holders = []int32{2}
			if err := g.fetchFromHolders(ctx, 5); err == nil || !strings.Contains(err.Error(), "from c: ") || !strings.Contains(err.Error(), "not 5") {
				t.Errorf("fetched from a holder of another step: %v", err)
			}
			if e.at() != before {
				t.Fatalf("the state at step %d has become one at step %d", before, e.at())
			}
			g.assign.Holders = []int32{0, 1, 2, 3}
			noError(t, g.fetchFromHolders(ctx, 5))
			if got := e.Digest(false); got != want || e.at() != 5 {
				t.Errorf("state %s at step %d, want %s at step 5", got, e.at(), want)
			}
		})
	}
}
