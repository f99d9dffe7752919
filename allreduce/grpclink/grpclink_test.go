package grpclink_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/allreduce/linktest"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token rpcauth.Token = "a token of the tests"

// serve starts a server on loopback and returns its address.
func serve(t *testing.T, links *grpclink.Server) (addr string, srv *grpc.Server) {
	t.Helper()
	return servePeers(t, links, peerService{})
}

func servePeers(t *testing.T, links *grpclink.Server, peers rpcpb.PeerServiceServer) (addr string, srv *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	srv = grpc.NewServer(append(token.ServerOptions(), grpclink.ServerOptions()...)...)
	links.Register(srv)
	rpcpb.RegisterPeerServiceServer(srv, peers)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(grpclink.Listen(l)) }()
	t.Cleanup(func() {
		links.Close()
		srv.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String(), srv
}

func connect(t *testing.T, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	if opts == nil {
		opts = token.DialOptions()
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, append(opts, grpclink.DialOptions()...)...)
	if err != nil {
		t.Fatalf("new client: %v", err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close connection: %v", err)
		}
	})
	return conn
}

// peerService shows that protobuf still works beside the links.
type peerService struct {
	rpcpb.UnimplementedPeerServiceServer
}

func (peerService) FetchState(s grpc.BidiStreamingServer[rpcpb.FetchStateRequest, rpcpb.FetchStateResponse]) error {
	r, err := s.Recv()
	if err != nil {
		return err
	}
	return s.Send(&rpcpb.FetchStateResponse{Header: &rpcpb.StateHeader{Digest: r.JobId}})
}

func hello(gen int, from ringleader.Rank) grpclink.Hello {
	return grpclink.Hello{Job: 0xABC, Generation: ringleader.Generation(gen), From: from}
}

type dialled struct {
	link allreduce.Link
	err  error
}

func dialAsync(ctx context.Context, conn *grpc.ClientConn, h grpclink.Hello) <-chan dialled {
	c := make(chan dialled, 1)
	go func() {
		l, err := grpclink.Dial(ctx, conn, h)
		c <- dialled{l, err}
	}()
	return c
}

func pair(t *testing.T, links *grpclink.Server, conn *grpc.ClientConn, h grpclink.Hello) (a, b allreduce.Link) {
	t.Helper()
	d := dialAsync(t.Context(), conn, h)
	b, err := links.Accept(t.Context(), h.Job, h.Generation, h.From)
	if err != nil {
		t.Fatalf("accept: %v", err)
	}
	got := <-d
	if got.err != nil {
		t.Fatalf("dial: %v", got.err)
	}
	return got.link, b
}

func TestLink(t *testing.T) {
	links := grpclink.NewServer()
	addr, _ := serve(t, links)
	conn := connect(t, addr)
	gen := 0
	linktest.Run(t, func(t *testing.T) (a, b allreduce.Link) {
		gen++
		return pair(t, links, conn, hello(gen, 2))
	})
}

func TestLostProcessBreaksLink(t *testing.T) {
	links := grpclink.NewServer()
	addr, srv := serve(t, links)
	a, b := pair(t, links, connect(t, addr), hello(1, 0))
	srv.Stop()
	for _, l := range []allreduce.Link{a, b} {
		<-l.Done()
		var f *allreduce.Fault
		if err := l.Err(); errors.As(err, &f) || errors.Is(err, allreduce.ErrPlanned) {
			t.Errorf("after the connection was lost: %v, want an error that is the transport's", err)
		}
	}
}

func TestProtobufBesideLinks(t *testing.T) {
	addr, _ := serve(t, grpclink.NewServer())
	s, err := rpcpb.NewPeerServiceClient(connect(t, addr)).FetchState(t.Context())
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	if err := s.Send(&rpcpb.FetchStateRequest{JobId: "j"}); err != nil {
		t.Fatalf("fetch: %v", err)
	}
	r, err := s.Recv()
	if err != nil || r.Header.GetDigest() != "j" {
		t.Errorf("fetched %v, %v", r, err)
	}
	if _, err := s.Recv(); err == nil {
		t.Errorf("stream goes on")
	}
}

func TestTokenIsNeeded(t *testing.T) {
	addr, _ := serve(t, grpclink.NewServer())
	conn := connect(t, addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if _, err := grpclink.Dial(t.Context(), conn, hello(1, 0)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("dial without the token: %v", err)
	}
}

func TestBadHelloIsRefused(t *testing.T) {
	addr, _ := serve(t, grpclink.NewServer())
	client := rpcpb.NewRingServiceClient(connect(t, addr))
	good := map[string]string{"ringleader-ring": "2", "ringleader-job": "00000000000000ab", "ringleader-generation": "3", "ringleader-rank": "0"}
	for key := range good {
		t.Run(key, func(t *testing.T) {
			md := metadata.New(good)
			md.Set(key, "x")
			s, err := client.Ring(metadata.NewOutgoingContext(t.Context(), md))
			if err != nil {
				t.Fatalf("open stream: %v", err)
			}
			if _, err := s.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("stream with %s x: %v", key, err)
			}
		})
	}
}
