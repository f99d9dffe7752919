// Package faultnet is TCP of a process that can be cut off, from all others or from some, slowed down, lose packets, and have a bit of what it sends flipped: for programs that show what they
// survive. It needs no rights on the machine, and tells the peers nothing that a broken cable would not.
package faultnet

import (
	"context"
	"net"
	"sync"
	"time"
)

// Network is one process's way to all others. The zero value works as TCP does. Its methods may be called from several goroutines.
type Network struct {
	mu     sync.Mutex
	cut    *cut            // from everybody; nil: connected
	parted map[string]*cut // from those at addresses
	delay  time.Duration
	loses  bool
	sent   int // writes while it loses some
	garble bool
}

// cut is a time off the network.
type cut struct {
	healed  chan struct{} // closed at its end
	orphans []net.Conn    // closed meanwhile: the peers must not hear of it yet
}

func newCut() *cut { return &cut{healed: make(chan struct{})} }

func (c *cut) heal() {
	close(c.healed)
	for _, o := range c.orphans {
		_ = o.Close() // nobody uses it any more
	}
}

// Cut takes the process off the network, or puts it back: what is sent and received waits meanwhile, as it does in kernels that retransmit.
func (n *Network) Cut(off bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case off && n.cut == nil:
		n.cut = newCut()
	case !off && n.cut != nil:
		n.cut.heal()
		n.cut = nil
	}
}

// Part does the same to what goes over connections that were or are dialed to an address. Two processes are cut off from each other when each has parted from
// the other's.
func (n *Network) Part(addr string, off bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.parted[addr]
	switch {
	case off && c == nil:
		if n.parted == nil {
			n.parted = map[string]*cut{}
		}
		n.parted[addr] = newCut()
	case !off && c != nil:
		c.heal()
		delete(n.parted, addr)
	}
}

// Slow delays every write; 0 ends that.
func (n *Network) Slow(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Lossy loses every lossEvery-th write, or ends that: TCP sends it again when the answer does not come, and what follows waits.
func (n *Network) Lossy(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loses, n.sent = on, 0
}

// What a loss costs: the least time that Linux waits before it sends again.
const (
	lossEvery  = 16
	retransmit = 200 * time.Millisecond
)

// Garble flips a bit of the next large message that is sent.
func (n *Network) Garble() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.garble = true
}

// Listen listens on a TCP address.
func (n *Network) Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return listener{l, n}, nil
}

// Dial connects to a TCP address. While the process is cut off it waits, as for an answer.
func (n *Network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	for off := n.off(addr); off != nil; off = n.off(addr) {
		select {
		case <-off.healed:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
		}
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return n.wrap(c, addr), nil
}

// off is what keeps this process from an address; nil: nothing.
func (n *Network) off(addr string) *cut {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.offLocked(addr)
}

func (n *Network) offLocked(addr string) *cut {
	if n.cut != nil {
		return n.cut
	}
	return n.parted[addr]
}

func (n *Network) wrap(c net.Conn, to string) net.Conn {
	return &conn{Conn: c, n: n, to: to, closed: make(chan struct{})}
}

type listener struct {
	net.Listener
	n *Network
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.n.wrap(c, ""), nil
}

type conn struct {
	net.Conn
	n      *Network
	to     string // the address that was dialed; empty: the peer dialed
	once   sync.Once
	closed chan struct{}
}

// pass waits while the process is cut off.
func (c *conn) pass() error {
	for {
		off := c.n.off(c.to)
		if off == nil {
			return nil
		}
		select {
		case <-off.healed:
		case <-c.closed:
			return net.ErrClosed
		}
	}
}

// Read implements net.Conn. What has arrived during a cut is seen after it.
func (c *conn) Read(b []byte) (int, error) {
	k, err := c.Conn.Read(b)
	if lost := c.pass(); lost != nil {
		return 0, lost
	}
	return k, err
}

// garbled is how long a message is that may be garbled: shorter ones are not data.
const garbled = 1 << 10

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	c.n.mu.Lock()
	delay := c.n.delay
	if c.n.loses {
		if c.n.sent++; c.n.sent%lossEvery == 0 {
			delay += retransmit
		}
	}
	hit := c.n.garble && len(b) >= garbled
	if hit {
		c.n.garble = false
	}
	c.n.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	if hit {
		b = append([]byte(nil), b...)
		b[len(b)/2] ^= 1 << 3
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn. The peer does not hear of it before the cut ends.
func (c *conn) Close() (err error) {
	err = net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		c.n.mu.Lock()
		defer c.n.mu.Unlock()
		off := c.n.offLocked(c.to)
		if off == nil {
			err = c.Conn.Close()
			return
		}
		err = c.Conn.SetDeadline(time.Unix(1, 0)) // ends what is waiting
		off.orphans = append(off.orphans, c.Conn)
	})
	return err
}
