package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/internal/faultnet"
)

// troubles are what a supervised child brings on itself when its parent orders it: those faults that cannot be made from outside. It is a child
// of a cluster that is tormented on purpose; no other process has any.
type troubles struct {
	net    faultnet.Network
	ahead  atomic.Int64 // nanoseconds, of the clock
	store  storeTrouble
	memory *memory
}

// The orders, as the parent writes them.
const (
	orderCut       = "cut"        // DURATION: off the network
	orderPart      = "part"       // ADDRESS,...: off the network of the processes that are dialed there
	orderMend      = "mend"       // ADDRESS,...: the end of that
	orderSlow      = "slow"       // DURATION: every message a little later
	orderLossy     = "lossy"      // DURATION: some messages have to be sent again
	orderSkew      = "skew"       // DURATION: the clock is ahead from now on
	orderGarble    = "garble"     // a bit of the next large message is flipped
	orderFlip      = "flip"       // N: a bit of the state in memory is flipped
	orderFlipSum   = "flip-sum"   // N: a bit of the gradients' sum is flipped when the next update reads it
	orderStoreFail = "store-fail" // DURATION: every operation of a store fails
	orderStoreHang = "store-hang" // DURATION: no operation of a store ends
)

// slowness is how much later a message of a slow process is.
const slowness = 3 * time.Millisecond

// obey carries out an order; one that it does not know is none.
func (t *troubles) obey(word, arg string) {
	length, err := time.ParseDuration(arg)
	timed := err == nil
	switch {
	case word == orderCut && timed:
		t.net.Cut(true)
		time.AfterFunc(length, func() { t.net.Cut(false) })
	case word == orderPart || word == orderMend:
		for _, address := range strings.Split(arg, ",") {
			t.net.Part(address, word == orderPart)
		}
	case word == orderSlow && timed:
		t.net.Slow(slowness)
		time.AfterFunc(length, func() { t.net.Slow(0) })
	case word == orderLossy && timed:
		t.net.Lossy(true)
		time.AfterFunc(length, func() { t.net.Lossy(false) })
	case word == orderSkew && timed:
		t.ahead.Store(int64(length))
	case word == orderGarble:
		t.net.Garble()
	case (word == orderFlip || word == orderFlipSum) && t.memory != nil:
		if n, err := strconv.ParseUint(arg, 10, 64); err == nil {
			t.memory.ask(n, word == orderFlipSum)
		}
	case word == orderStoreFail && timed:
		t.store.begin(length, false)
	case word == orderStoreHang && timed:
		t.store.begin(length, true)
	}
}

// now is the clock that may be ahead.
func (t *troubles) now() time.Time { return time.Now().Add(time.Duration(t.ahead.Load())) }

// openStore is openStore, with trouble.
func (t *troubles) openStore(ctx context.Context, url string) (checkpoints.Store, error) {
	s, err := openStore(ctx, url)
	if err != nil {
		return nil, err
	}
	return &troubledStore{s, &t.store}, nil
}

// storeTrouble is the state of all stores of a process.
type storeTrouble struct {
	mu    sync.Mutex
	over  chan struct{} // closed at the end of the trouble; nil: there is none
	hangs bool
}

func (t *storeTrouble) begin(length time.Duration, hangs bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over != nil {
		return // one at a time
	}
	over := make(chan struct{})
	t.over, t.hangs = over, hangs
	time.AfterFunc(length, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		close(over)
		t.over = nil
	})
}

// meet returns the error of an operation that meets with trouble.
func (t *storeTrouble) meet(ctx context.Context) error {
	t.mu.Lock()
	over, hangs := t.over, t.hangs
	t.mu.Unlock()
	switch {
	case over == nil:
		return nil
	case !hangs:
		return fmt.Errorf("a fault on purpose: %w", checkpoints.ErrUnavailable)
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a fault on purpose: %w: %w", checkpoints.ErrUnavailable, ctx.Err())
	}
}

// troubledStore is a store that meets with trouble before every operation.
type troubledStore struct {
	checkpoints.Store
	t *storeTrouble
}

func (s *troubledStore) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sha256 []byte, ifAbsent bool) error {
	if err := s.t.meet(ctx); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, body, size, sha256, ifAbsent)
}

func (s *troubledStore) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := s.t.meet(ctx); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name)
}

func (s *troubledStore) Stat(ctx context.Context, name string) (checkpoints.Info, error) {
	if err := s.t.meet(ctx); err != nil {
		return checkpoints.Info{}, err
	}
	return s.Store.Stat(ctx, name)
}

func (s *troubledStore) List(ctx context.Context, prefix string) ([]checkpoints.Info, error) {
	if err := s.t.meet(ctx); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, prefix)
}

func (s *troubledStore) Delete(ctx context.Context, name string) error {
	if err := s.t.meet(ctx); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name)
}
