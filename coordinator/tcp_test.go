package coordinator

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// tcpCluster is three coordinators on loopback ports. Their listeners are bound before, since peers must know them.
func tcpCluster(t *testing.T, n int) (nodes []*Coordinator, addrs []string) {
	t.Helper()
	var ls []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
		addrs = append(addrs, l.Addr().String())
	}
	for i, l := range ls {
		cfg := DefaultConfig()
		cfg.Bind, cfg.Peers, cfg.Token, cfg.Dir = addrs[i], addrs, testToken, filepath.Join(t.TempDir(), "node")
		cfg.Listen = func(string) (net.Listener, error) { return l, nil }
		c, err := Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, c)
	}
	return nodes, addrs
}

func TestThreeCoordinatorsOnTCP(t *testing.T) {
	nodes, addrs := tcpCluster(t, 3)
	tool, err := client.Dial(addrs, testToken, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	j, err := tool.Submit(t.Context(), &rpcpb.SubmitJobRequest{Key: "k", Spec: spec(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	// A coordinator that does not lead says who does, and one client finds the leader through any of them.
	for i, a := range addrs {
		one, err := client.Dial([]string{a}, testToken, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := one.Get(t.Context(), j.Id)
		if err != nil || got.Id != j.Id {
			t.Fatalf("by coordinator %d: %v, %v", i, got, err)
		}
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range nodes {
		if c.Leading() {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes[:i], nodes[i+1:]...)
			break
		}
	}
	if again, err := tool.Submit(t.Context(), &rpcpb.SubmitJobRequest{Key: "k", Spec: spec(t, nil)}); err != nil || again.Id != j.Id {
		t.Fatalf("after the leader has gone: %v, %v", again, err)
	}
	for _, c := range nodes {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongTokenIsToldAtOnce(t *testing.T) {
	nodes, addrs := tcpCluster(t, 1)
	defer nodes[0].Close()
	tool, err := client.Dial(addrs, rpcauth.Token("another token altogether"), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	if _, err := tool.List(t.Context()); status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
	a := tool.Attach(t.Context(), func() *rpcpb.Register {
		return &rpcpb.Register{WorkerId: "w", Incarnation: "1", Device: "cpu", Address: "a:1"}
	}, func() uint64 { return 0 })
	for range a.Events() {
		t.Fatal("an event on an attachment that was refused")
	}
	if err := a.Err(); status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", tool, a), "altogether") {
		t.Fatal("the token is printed")
	}
}

// pair is two ends of a connection on loopback.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	a, b = net.Pipe()
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func TestRaftConnectionsNameTheNodeAndProveTheToken(t *testing.T) {
	for name, tc := range map[string]struct {
		wanted   string
		dialer   rpcauth.Token
		acceptor rpcauth.Token
		dial     error
	}{
		"right":       {"me", testToken, testToken, nil},
		"other node":  {"old-me", testToken, testToken, errWrongNode},
		"wrong token": {"me", "something that it is not", testToken, errWrongToken},
		"impostor":    {"me", testToken, "something that it is not", errWrongToken},
	} {
		a, b := pair(t)
		result := make(chan error, 1)
		go func() {
			defer b.Close()
			head := make([]byte, len(raftMagic))
			if _, err := io.ReadFull(b, head); err != nil {
				result <- err
				return
			}
			result <- welcome(b, tc.acceptor, "me")
		}()
		err := greet(a, tc.dialer, tc.wanted)
		a.Close()
		got := <-result
		if err != tc.dial || (got == nil) != (tc.dial == nil) {
			t.Errorf("%s: dialer %v, acceptor %v", name, err, got)
		}
	}
}

// A replayed or guessed proof is worth nothing: the acceptor's nonce is new each time.
func TestAcceptorRefusesAReplay(t *testing.T) {
	a, b := pair(t)
	result := make(chan error, 1)
	go func() { defer b.Close(); result <- welcome(b, testToken, "me") }()
	old := make([]byte, nonceSize)
	if _, err := a.Write(append([]byte{2, 'm', 'e'}, old...)); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 1+nonceSize+32)
	if _, err := io.ReadFull(a, reply); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write(proof(testToken, "dial", "me", old, old)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != errWrongToken {
		t.Fatal(err)
	}
}

// Whoever says nothing, or nonsense, costs a slot for a while and harms nobody.
func TestSilentAndSenselessConnections(t *testing.T) {
	nodes, addrs := tcpCluster(t, 1)
	for i := range 10 {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			if _, err := conn.Write([]byte(raftMagic + "\xffnonsense")); err != nil {
				t.Fatal(err)
			}
		}
	}
	tool, err := client.Dial(addrs, testToken, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	if _, err := tool.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Close(); err != nil { // it does not wait for them
		t.Fatal(err)
	}
}
