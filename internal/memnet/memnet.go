// Package memnet is a network in memory, for tests of whole clusters on fake time: hosts by address, connections between them,
// and cables that can be cut.
package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"

	"google.golang.org/grpc/test/bufconn"
)

// Network connects hosts. The zero value is no network; use New. Its methods may be called from several goroutines.
type Network struct {
	mu    sync.Mutex
	hosts map[string]*bufconn.Listener
	off   map[string]bool
	apart map[[2]string]bool // pairs of hosts, in order
	wires map[*wire]bool
}

// wire is one end of a connection between two hosts.
type wire struct {
	net.Conn
	from, to string
	n        *Network
}

// New is a network without hosts.
func New() *Network {
	return &Network{hosts: map[string]*bufconn.Listener{}, off: map[string]bool{}, apart: map[[2]string]bool{}, wires: map[*wire]bool{}}
}

// Listen puts a host onto the network, or a new listener into the place of its old one.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := bufconn.Listen(1 << 20)
	n.hosts[addr] = l
	return named{l, addr}, nil
}

// named is a listener that knows its address.
type named struct {
	net.Listener
	addr string
}

func (l named) Addr() net.Addr { return address(l.addr) }

type address string

func (address) Network() string  { return "mem" }
func (a address) String() string { return string(a) }

// Dialer connects from a host to others. Unknown hosts, and those that are cut off, refuse at once.
func (n *Network) Dialer(from string) func(ctx context.Context, to string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		n.mu.Lock()
		host, off := n.hosts[to], n.off[from] || n.off[to] || n.apart[pair(from, to)]
		n.mu.Unlock()
		if host == nil || off {
			return nil, fmt.Errorf("dial %s from %s: %w", to, from, syscall.ECONNREFUSED)
		}
		c, err := host.DialContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("dial %s from %s: %w", to, from, err)
		}
		w := &wire{c, from, to, n}
		n.mu.Lock()
		n.wires[w] = true
		n.mu.Unlock()
		return w, nil
	}
}

// Cut takes a host off the network, as a broken cable or a power cut does for everyone else, or puts it back.
func (n *Network) Cut(host string, off bool) {
	n.mu.Lock()
	n.off[host] = off
	n.mu.Unlock()
	if off {
		n.cut(func(w *wire) bool { return w.from == host || w.to == host })
	}
}

// Sever cuts the cable between two hosts, or mends it. All others still reach both.
func (n *Network) Sever(a, b string, off bool) {
	n.mu.Lock()
	n.apart[pair(a, b)] = off
	n.mu.Unlock()
	if off {
		n.cut(func(w *wire) bool { return pair(w.from, w.to) == pair(a, b) })
	}
}

func pair(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// cut ends connections.
func (n *Network) cut(which func(*wire) bool) {
	n.mu.Lock()
	var broken []*wire
	for w := range n.wires {
		if which(w) {
			broken = append(broken, w)
		}
	}
	n.mu.Unlock()
	for _, w := range broken {
		// Both ends see the end of the connection; there is nobody to tell of an error.
		_ = w.Close()
	}
}

// IsCut reports whether a host is off the network.
func (n *Network) IsCut(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.off[host]
}

// Close closes the connection and forgets it.
func (w *wire) Close() error {
	w.n.mu.Lock()
	delete(w.n.wires, w)
	w.n.mu.Unlock()
	return w.Conn.Close()
}
