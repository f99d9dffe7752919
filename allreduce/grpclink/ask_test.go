package grpclink_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/allreduce/linktest"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// answering hands the links that it answers to a test, until they end.
type answering struct {
	rpcpb.UnimplementedPeerServiceServer
	links *grpclink.Server
	do    func(context.Context, allreduce.Link) error
}

func (a answering) FetchState(s grpc.BidiStreamingServer[rpcpb.FetchStateRequest, rpcpb.FetchStateResponse]) error {
	return a.links.Answer(s, a.do)
}

// TestAskedLink: a link that is asked for is a link, whatever it runs over.
func TestAskedLink(t *testing.T) {
	for _, want := range []string{"tcp", "unix", "memory"} {
		t.Run(want, func(t *testing.T) {
			answered := make(chan allreduce.Link)
			links := grpclink.NewServer()
			links.Apart = want == "unix"
			addr, srv := servePeers(t, links, answering{links: links, do: func(_ context.Context, l allreduce.Link) error {
				answered <- l
				<-l.Done()
				return l.Err()
			}})
			options := token.DialOptions()
			if want != "tcp" {
				serveLocal(t, srv, addr)
				options = append(options, grpc.WithContextDialer(grpclink.DialContext))
			}
			conn := connect(t, addr, options...)
			linktest.Run(t, func(t *testing.T) (a, b allreduce.Link) {
				type asked struct {
					link allreduce.Link
					err  error
				}
				ask := make(chan asked, 1)
				go func() {
					l, err := grpclink.Ask(t.Context(), conn, rpcpb.PeerService_FetchState_FullMethodName)
					ask <- asked{l, err}
				}()
				b = <-answered
				got := <-ask
				if got.err != nil {
					t.Fatal(got.err)
				}
				if from, to := grpclink.Path(got.link), grpclink.Path(b); from != want || to != want {
					t.Fatalf("link by way of %s and %s, want %s", from, to, want)
				}
				return got.link, b
			})
		})
	}
}

// TestRefusedAnswer: what a handler returns is what the peer is told.
func TestRefusedAnswer(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := servePeers(t, links, answering{links: links, do: func(context.Context, allreduce.Link) error {
		return &allreduce.Fault{How: "holds step 5, not 4"}
	}})
	l, err := grpclink.Ask(t.Context(), connect(t, addr), rpcpb.PeerService_FetchState_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Recv(t.Context()); err == nil || errors.Is(err, allreduce.ErrPlanned) || !strings.Contains(err.Error(), "holds step 5, not 4") {
		t.Errorf("refused with %v", err)
	}
	if err := l.Close(nil); err != nil {
		t.Error(err)
	}
}

// TestAskNobody: a peer that takes no connection is not waited for.
func TestAskNobody(t *testing.T) {
	addr, srv := serve(t, grpclink.NewServer())
	srv.Stop()
	if l, err := grpclink.Ask(t.Context(), connect(t, addr), rpcpb.PeerService_FetchState_FullMethodName); err == nil {
		t.Errorf("link to nobody: %v", l.Close(nil))
	}
}
