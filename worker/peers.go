package worker

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// peers keeps one connection for each other worker.
type peers struct {
	options []grpc.DialOption
	mu      sync.Mutex
	conns   map[string]*grpc.ClientConn
}

func newPeers(token rpcauth.Token, dial func(context.Context, string) (net.Conn, error)) *peers {
	options := append(token.DialOptions(), grpclink.DialOptions()...)
	if dial == nil {
		dial = grpclink.DialContext
	}
	options = append(options, grpc.WithContextDialer(dial))
	return &peers{options: options, conns: map[string]*grpc.ClientConn{}}
}

// conn returns the connection to an address; it connects when it is first used. One that failed before is made anew: it says what was
// true then, and would wait before it tries again.
func (p *peers) conn(address string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[address]; c != nil {
		if c.GetState() != connectivity.TransientFailure {
			return c, nil
		}
		_ = c.Close() // nothing travels on it
	}
	c, err := grpc.NewClient("passthrough:///"+address, p.options...)
	if err != nil {
		return nil, fmt.Errorf("connect to worker at %s: %w", address, err)
	}
	p.conns[address] = c
	return c, nil
}

// keep closes the connections to addresses that are no longer members'.
func (p *peers) keep(members []*rpcpb.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[string]bool{}
	for _, m := range members {
		wanted[m.Address] = true
	}
	for address, c := range p.conns {
		if !wanted[address] {
			// A connection to a worker that has left; whatever it still had to say is of no interest.
			_ = c.Close()
			delete(p.conns, address)
		}
	}
}

func (p *peers) close() { p.keep(nil) }
