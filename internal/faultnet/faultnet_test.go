package faultnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a connection from a process with faults to one without.
func pair(t *testing.T, n *Network) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = n.Dial(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// silent wants nothing to arrive for a moment.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if k, err := c.Read(make([]byte, 1)); k != 0 || !errors.As(err, new(net.Error)) {
		t.Errorf("read %d bytes, %v: want a timeout", k, err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// TestPart: nothing passes to or from the address that the process has parted from; others do not notice.
func TestPart(t *testing.T) {
	var n Network
	ours, theirs := pair(t, &n)
	other, otherTheirs := pair(t, &n)
	n.Part(ours.RemoteAddr().String(), true)
	sent := make(chan error, 1)
	go func() { _, err := ours.Write([]byte("a")); sent <- err }()
	silent(t, theirs)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := n.Dial(ctx, ours.RemoteAddr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial: %v", err)
	}
	send(t, other, []byte("b"))
	b := []byte{0}
	if _, err := io.ReadFull(otherTheirs, b); err != nil || b[0] != 'b' {
		t.Errorf("the other one reads %q, %v", b, err)
	}
	n.Part(ours.RemoteAddr().String(), false)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(theirs, b); err != nil || b[0] != 'a' {
		t.Errorf("after the end it reads %q, %v", b, err)
	}
}

// TestCut: nothing passes while the cable is pulled, not even the end of a connection; afterwards nothing is missing.
func TestCut(t *testing.T) {
	var n Network
	ours, theirs := pair(t, &n)
	ending, seesEnd := pair(t, &n)
	n.Cut(true)
	sent := make(chan error, 1)
	go func() { _, err := ours.Write([]byte("a")); sent <- err }()
	got := make(chan byte, 1)
	go func() {
		b := []byte{0}
		_, _ = io.ReadFull(ours, b)
		got <- b[0]
	}()
	send(t, theirs, []byte("b"))
	if err := ending.Close(); err != nil {
		t.Error(err)
	}
	silent(t, theirs)
	silent(t, seesEnd)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := n.Dial(ctx, theirs.LocalAddr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial: %v", err)
	}
	select {
	case b := <-got:
		t.Errorf("received %q", b)
	case err := <-sent:
		t.Errorf("sent: %v", err)
	default:
	}
	n.Cut(false)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if b := <-got; b != 'b' {
		t.Errorf("received %q", b)
	}
	if b := []byte{0}; true {
		if _, err := io.ReadFull(theirs, b); err != nil || b[0] != 'a' {
			t.Errorf("they received %q, %v", b, err)
		}
	}
	if _, err := seesEnd.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the closed connection: %v, want EOF", err)
	}
}

// TestCloseWhileCut: whoever waits on a connection sees its end.
func TestCloseWhileCut(t *testing.T) {
	var n Network
	ours, _ := pair(t, &n)
	n.Cut(true)
	done := make(chan error, 2)
	go func() { _, err := ours.Write([]byte("a")); done <- err }()
	go func() { _, err := ours.Read([]byte{0}); done <- err }()
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-done; err == nil {
			t.Error("no error")
		}
	}
	n.Cut(false)
}

// TestGarble: one bit of one large message.
func TestGarble(t *testing.T) {
	var n Network
	l, err := n.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	n.Garble()
	n.Slow(time.Millisecond)
	for _, want := range []int{0, 1, 0} {
		size := garbled
		if want == 0 {
			size = 16
		}
		send(t, ours, make([]byte, size))
		b := make([]byte, size)
		if _, err := io.ReadFull(theirs, b); err != nil {
			t.Fatal(err)
		}
		wrong := 0
		for _, x := range b {
			for ; x != 0; x &= x - 1 {
				wrong++
			}
		}
		if wrong != want {
			t.Errorf("%d bits flipped in a message of %d bytes, want %d", wrong, size, want)
		}
	}
}

// TestLossy: one of so many writes waits to be sent again, in order with the others; then none does.
func TestLossy(t *testing.T) {
	var n Network
	ours, theirs := pair(t, &n)
	n.Lossy(true)
	began := time.Now()
	var want []byte
	for i := range byte(lossEvery + 1) {
		send(t, ours, []byte{i})
		want = append(want, i)
	}
	if took := time.Since(began); took < retransmit {
		t.Errorf("%d writes took %v: none was sent again after %v", len(want), took, retransmit)
	}
	n.Lossy(false)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("received %v, %v; sent %v", got, err, want)
	}
}
