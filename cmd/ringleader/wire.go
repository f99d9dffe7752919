package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// wire carries connections to one address, or to those that whoever dials it names first, and can fall silent: nothing arrives any more and nothing ends, as when a cable is pulled. (New
// connections are still accepted; a pulled cable would leave them without an answer too, only earlier.)
type wire struct {
	listener net.Listener
	target   string // empty: named by a line at the beginning of each connection
	all      sync.WaitGroup

	mu     sync.Mutex
	moved  *sync.Cond // a change of silent or closed
	silent bool
	closed bool
	conns  map[*carried]bool
}

// carried is one connection, from whoever dialled to the target.
type carried struct {
	near, far net.Conn // far is guarded by the wire's mu
}

// maxTarget bounds the name of a target.
const maxTarget = 256

// throughWire dials addresses over a wire without a target.
func throughWire(address string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, target string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(c, target+"\n"); err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}
}

// newWire listens on a free loopback port.
func newWire(target string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lay a wire: %w", err)
	}
	w := &wire{listener: l, target: target, conns: map[*carried]bool{}}
	w.moved = sync.NewCond(&w.mu)
	w.all.Go(w.accept)
	return w, nil
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		c := &carried{near: near}
		if !w.take(c) {
			_ = near.Close()
			return
		}
		w.all.Go(func() { w.carry(c) })
	}
}

// take adds a connection; false: the wire is closed.
func (w *wire) take(c *carried) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = true
	return !w.closed
}

// carry moves bytes both ways until one side ends.
func (w *wire) carry(c *carried) {
	defer w.drop(c)
	if !w.reach(c) {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c.near, c.far}, {c.far, c.near}} {
		both.Go(func() {
			w.move(way[0], way[1])
			_, _ = c.near.Close(), c.far.Close() // an end is passed on, whatever it was
		})
	}
	both.Wait()
}

// reach dials the target; without one, whoever dialled sees its connection end.
func (w *wire) reach(c *carried) bool {
	target := w.target
	if target == "" {
		var name [maxTarget]byte
		n := 0
		for ; n < len(name); n++ {
			if _, err := io.ReadFull(c.near, name[n:n+1]); err != nil || name[n] == '\n' {
				break
			}
		}
		target = string(name[:n])
	}
	if !w.passes() {
		return false
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c.far = far
	return !w.closed
}

func (w *wire) drop(c *carried) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
	_ = c.near.Close()
	if c.far != nil {
		_ = c.far.Close()
	}
}

func (w *wire) move(from io.Reader, to io.Writer) {
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if !w.passes() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passes waits while the wire is silent; false: the wire is closed.
func (w *wire) passes() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.silent && !w.closed {
		w.moved.Wait()
	}
	return !w.closed
}

// silence silences all connections, also those to come, or lets them go on.
func (w *wire) silence(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = on
	w.moved.Broadcast()
}

// close ends all connections and waits for them.
func (w *wire) close() error {
	err := w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for c := range w.conns {
		// Whatever still travels is of no interest.
		_ = c.near.Close()
		if c.far != nil {
			_ = c.far.Close()
		}
	}
	w.moved.Broadcast()
	w.mu.Unlock()
	w.all.Wait()
	return err
}
