package mem

import (
	"errors"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/storetest"
)

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
