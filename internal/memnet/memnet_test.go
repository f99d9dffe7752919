package memnet

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCut(t *testing.T) {
	n := New()
	l, err := n.Listen("b:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	c, err := n.Dialer("a:1")(t.Context(), "b:1")
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	defer server.Close()
	n.Cut("a:1", true)
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read from a host that was cut off: %v, want EOF", err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a host that is cut off still writes")
	}
	for _, d := range []struct{ from, to string }{{"a:1", "b:1"}, {"c:1", "nowhere:1"}} {
		if _, err := n.Dialer(d.from)(t.Context(), d.to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial %s from %s: %v, want it refused", d.to, d.from, err)
		}
	}
	n.Cut("a:1", false)
	if n.IsCut("a:1") {
		t.Error("a host that was put back is still cut off")
	}
}

// TestSever: two hosts lose each other, and nobody else.
func TestSever(t *testing.T) {
	n := New()
	l, err := n.Listen("b:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	a, err := n.Dialer("a:1")(t.Context(), "b:1")
	if err != nil {
		t.Fatal(err)
	}
	n.Sever("b:1", "a:1", true)
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("the connection is still there")
	}
	if _, err := n.Dialer("a:1")(t.Context(), "b:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, want it refused", err)
	}
	c, err := n.Dialer("c:1")(t.Context(), "b:1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n.Sever("a:1", "b:1", false)
	if a, err = n.Dialer("a:1")(t.Context(), "b:1"); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
}
