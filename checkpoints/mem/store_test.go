package mem

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) checkpoints.Store { return New() })
}

func TestInject(t *testing.T) {
	s := New()
	lost := errors.New("lost")
	s.Inject(func(op Op) Fault {
		return Fault{Err: map[int]error{1: lost, 2: lost}[op.N], Late: op.N == 2}
	})
	for i, want := range []bool{false, true} {
		if err := storetest.Put(t.Context(), s, "x", []byte("content"), false); !errors.Is(err, lost) {
			t.Fatalf("call %d: %v, want the injected error", i+1, err)
		}
		if have := s.Bytes("x") != nil; have != want {
			t.Errorf("after call %d: there = %t, want %t", i+1, have, want)
		}
	}
	if _, err := s.Stat(t.Context(), "x"); err != nil || s.Ops() != 3 {
		t.Errorf("third call: %v, %d calls", err, s.Ops())
	}
}

func TestHangAndLie(t *testing.T) {
	s := New()
	fault := Fault{}
	s.Inject(func(Op) Fault { return fault })
	put := func(name string) {
		t.Helper()
		if err := storetest.Put(t.Context(), s, name, []byte("content"), false); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		r, err := s.Open(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	put("x")
	put("y")
	fault.Lie = true
	if have := read(); have == "content" {
		t.Error("what was read is true")
	}
	if info, err := s.Stat(t.Context(), "x"); err != nil || info.Size == 7 {
		t.Errorf("stat: %+v, %v", info, err)
	}
	if list, err := s.List(t.Context(), ""); err != nil || len(list) != 1 {
		t.Errorf("list: %+v, %v", list, err)
	}
	if err := s.Delete(t.Context(), "x"); err != nil || string(s.Bytes("x")) != "content" {
		t.Errorf("delete: %v, then %q", err, s.Bytes("x"))
	}
	if put("x"); string(s.Bytes("x")) == "content" {
		t.Error("what was put is there as it is")
	}
	fault = Fault{Hang: true}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.List(ctx, ""); !errors.Is(err, checkpoints.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("list: %v, want the end of the context", err)
	}
}
