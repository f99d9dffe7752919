package coordinator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// mux shares one listener between Raft and gRPC: a connection of ours begins with raftMagic, one of HTTP/2 with its preface.
type mux struct {
	l          net.Listener
	grpc, raft *queue
	wg         sync.WaitGroup
	slots      chan struct{} // bounds the connections that have not yet said what they are
	done       chan struct{}
	once       sync.Once
	accept     func(net.Conn) error // proves the token on a Raft connection

	mu   sync.Mutex
	open map[*tracked]bool // Raft's connections, which it does not close by itself
}

const (
	raftMagic   = "RLRAFT1\n"
	sniffTime   = 3 * time.Second
	maxSniffing = 128
)

func newMux(l net.Listener, advertise net.Addr, accept func(net.Conn) error) *mux {
	m := &mux{l: l, slots: make(chan struct{}, maxSniffing), done: make(chan struct{}), accept: accept, open: map[*tracked]bool{}}
	m.grpc = &queue{addr: advertise, conns: make(chan net.Conn), done: make(chan struct{}), over: m.done}
	m.raft = &queue{addr: advertise, conns: make(chan net.Conn), done: make(chan struct{}), over: m.done}
	m.wg.Add(1)
	go m.serve()
	return m
}

func (m *mux) serve() {
	defer m.wg.Done()
	for {
		conn, err := m.l.Accept()
		if err != nil {
			select {
			case <-m.done:
				return
			case <-time.After(50 * time.Millisecond): // out of file descriptors, most likely: it passes
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
		}
		select {
		case m.slots <- struct{}{}:
		case <-m.done:
			conn.Close()
			return
		}
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			m.sort(conn)
		}()
	}
}

func (m *mux) sort(conn net.Conn) {
	stop := make(chan struct{})
	watching := make(chan struct{})
	go func() { // shutting down does not wait for a connection that says nothing
		defer close(watching)
		select {
		case <-m.done:
			conn.Close()
		case <-stop:
		}
	}()
	to, sorted, err := m.sniff(conn)
	close(stop)
	<-watching
	<-m.slots
	if err == nil {
		err = to.put(sorted)
	}
	if err != nil {
		conn.Close()
	}
}

func (m *mux) sniff(conn net.Conn) (*queue, net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(sniffTime)); err != nil {
		return nil, nil, err
	}
	head := make([]byte, len(raftMagic))
	if _, err := io.ReadFull(conn, head); err != nil {
		return nil, nil, err
	}
	if string(head) != raftMagic {
		return m.grpc, &sniffed{Conn: conn, head: head}, conn.SetDeadline(time.Time{})
	}
	if err := m.accept(conn); err != nil {
		return nil, nil, err
	}
	t := &tracked{conn, m}
	m.mu.Lock()
	m.open[t] = true
	m.mu.Unlock()
	return m.raft, t, conn.SetDeadline(time.Time{})
}

// close ends accepting, connections that were not yet handed over, and those of Raft.
func (m *mux) close() error {
	var err error
	m.once.Do(func() {
		close(m.done)
		err = m.l.Close()
	})
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.open {
		_ = t.Conn.Close() // it was only read from
	}
	clear(m.open)
	return err
}

type tracked struct {
	net.Conn
	m *mux
}

func (t *tracked) Close() error {
	t.m.mu.Lock()
	delete(t.m.open, t)
	t.m.mu.Unlock()
	return t.Conn.Close()
}

// sniffed gives back what was read to find out what a connection is.
type sniffed struct {
	net.Conn
	head []byte
}

func (s *sniffed) Read(b []byte) (int, error) {
	if len(s.head) > 0 {
		n := copy(b, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	return s.Conn.Read(b)
}

// queue is a listener whose connections come from the mux.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	over  <-chan struct{} // the mux has ended
	once  sync.Once
}

func (q *queue) put(c net.Conn) error {
	select {
	case q.conns <- c:
		return nil
	case <-q.done:
	case <-q.over:
	}
	return net.ErrClosed
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
	case <-q.over:
	}
	return nil, fmt.Errorf("accept at %s: %w", q.addr, net.ErrClosed)
}

// Close implements net.Listener.
func (q *queue) Close() error { q.once.Do(func() { close(q.done) }); return nil }

// Addr implements net.Listener: the advertised address.
func (q *queue) Addr() net.Addr { return q.addr }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
