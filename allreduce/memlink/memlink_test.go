package memlink_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/linktest"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLink(t *testing.T) {
	linktest.Run(t, func(*testing.T) (a, b allreduce.Link) { return memlink.Pair() })
}

func send(t *testing.T, l allreduce.Link, step int) {
	t.Helper()
	f := allreduce.Frame{Tag: allreduce.Tag{Bucket: uint32(step)}, Payload: allreduce.Payload{{1, 2, 3}}}
	if err := l.Send(t.Context(), &f); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func recv(t *testing.T, l allreduce.Link) allreduce.Frame {
	t.Helper()
	f, err := l.Recv(t.Context())
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return *f
}

func TestDrop(t *testing.T) {
	a, b := memlink.Pair()
	a.OnSend(memlink.Drop(1))
	for i := range 3 {
		send(t, a, i)
	}
	for _, want := range []uint32{0, 2} {
		if got := recv(t, b).Tag.Bucket; got != want {
			t.Errorf("received frame %d, want %d", got, want)
		}
	}
}

func TestCorrupt(t *testing.T) {
	a, b := memlink.Pair()
	a.OnSend(memlink.Corrupt(1))
	send(t, a, 0)
	send(t, a, 1)
	if p := recv(t, b).Payload[0]; p[1] != 2 {
		t.Errorf("frame 0 was altered: %v", p)
	}
	if p := recv(t, b).Payload[0]; p[1] == 2 {
		t.Errorf("frame 1 was not altered: %v", p)
	}
}

func TestCutTellsNoCause(t *testing.T) {
	a, b := memlink.Pair()
	send(t, a, 0)
	a.Cut()
	for _, l := range []allreduce.Link{a, b} {
		if _, err := l.Recv(t.Context()); !errors.Is(err, memlink.ErrCut) {
			t.Errorf("receive on a cut link: %v", err)
		}
	}
}

func TestFreezeIsSilent(t *testing.T) {
	a, b := memlink.Pair()
	a.SendBeat(1)
	a.Freeze()
	a.SendBeat(2)
	if b.Beat() != 1 {
		t.Errorf("beat of a frozen end: %d, want 1", b.Beat())
	}
	got := make(chan error, 1)
	go func() { got <- a.Send(t.Context(), &allreduce.Frame{}) }()
	if err := b.Close(errors.New("enough")); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-got; err == nil {
		t.Errorf("a frozen end sent")
	}
}
