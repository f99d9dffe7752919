package coordinator

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// lateness holds back what arrives on connections, as a process does that waits for a processor.
type lateness struct {
	mu   sync.Mutex
	over chan struct{} // nil: nothing is late
}

func (l *lateness) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = make(chan struct{})
}

func (l *lateness) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.over)
	l.over = nil
}

func (l *lateness) wait() {
	l.mu.Lock()
	over := l.over
	l.mu.Unlock()
	if over != nil {
		<-over
	}
}

// lateConn is a connection with lateness.
type lateConn struct {
	net.Conn
	late *lateness
}

func (c lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.late.wait()
	return n, err
}

// TestStarvedLeaderLeadsOn: a leader that hears its followers' answers late stays, for as long as none of them misses it.
func TestStarvedLeaderLeadsOn(t *testing.T) {
	late := new(lateness)
	tune := func(cfg *Config) {
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := dial(ctx, addr)
			if err != nil {
				return nil, err
			}
			return lateConn{conn, late}, nil
		}
	}
	tuned(t, 3, tune, func(t *testing.T, c *cluster) {
		leader := c.leader()
		term := leader.raft.CurrentTerm()
		for range 20 {
			late.begin()
			<-time.After(140 * time.Millisecond) // and up to 40 since the last heartbeat: less than the 200 after which a follower stands
			late.end()
			<-time.After(100 * time.Millisecond)
		}
		if now := leader.raft.CurrentTerm(); now != term || !leader.Leading() {
			t.Errorf("term %d after term %d, and it is %t that the first leader leads", now, term, leader.Leading())
		}
	})
}
