package grpclink_test

import (
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"

	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/allreduce/linktest"
)

// serveLocal lets a server listen on its unix socket, too.
func serveLocal(t *testing.T, srv *grpc.Server, address string) {
	t.Helper()
	l, err := grpclink.ListenLocal(address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	})
}

// TestLocalLink: links over unix sockets are links, with memory that their ends share and without.
func TestLocalLink(t *testing.T) {
	for want, apart := range map[string]bool{"memory": false, "unix": true} {
		t.Run(want, func(t *testing.T) {
			links := grpclink.NewServer()
			links.Apart = apart
			addr, srv := serve(t, links)
			serveLocal(t, srv, addr)
			conn := connect(t, addr, append(token.DialOptions(), grpc.WithContextDialer(grpclink.DialContext))...)
			gen := 0
			linktest.Run(t, func(t *testing.T) (a, b allreduce.Link) {
				gen++
				a, b = pair(t, links, conn, hello(gen, 2))
				if grpclink.Path(a) != want || grpclink.Path(b) != want {
					t.Fatalf("link by way of %s and %s, want %s", grpclink.Path(a), grpclink.Path(b), want)
				}
				return a, b
			})
		})
	}
}

// TestDialChooses: the unix socket where there is one, TCP where there is none.
func TestDialChooses(t *testing.T) {
	links := grpclink.NewServer()
	addr, srv := serve(t, links)
	dial := func(want string) {
		t.Helper()
		c, err := grpclink.DialContext(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.RemoteAddr().Network(); got != want {
			t.Errorf("connection over %s, want %s", got, want)
		}
	}
	dial("tcp")
	serveLocal(t, srv, addr)
	dial("unix")
	if l, err := grpclink.ListenLocal(addr); err == nil {
		t.Errorf("a second listener took the name: %v", l.Close())
	}
	srv.Stop()
	// Somebody else may have the TCP port by now; nobody the socket's name.
	if c, err := grpclink.DialContext(t.Context(), addr); err == nil {
		if c.RemoteAddr().Network() == "unix" {
			t.Error("connection to a server that has stopped")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestListenKeeps: what is not TCP stays as it is.
func TestListenKeeps(t *testing.T) {
	l, err := net.Listen("unix", "@ringleader/test of "+t.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := grpclink.Listen(l); got != l {
		t.Errorf("listener became %v", got)
	}
}
