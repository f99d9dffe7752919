package devicetest

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// repeatable runs all scenarios in other places: the bits must be the same.
func repeatable(t *testing.T, open func(t testing.TB) device.Device) {
	d := openDevice(t, open)
	want := record(t, d, place{})

	again := func(name string, d device.Device, p place) {
		t.Run(name, func(t *testing.T) { compare(t, record(t, d, p), want) })
	}
	again("AnotherLane", d, place{})
	again("AnotherAddress", d, place{shift: 1})
	again("AnotherAlignment", d, place{shift: 5})
	again("AnotherDevice", openDevice(t, open), place{})
	t.Run("BesideABusyLane", func(t *testing.T) {
		stop := busy(t, d)
		compare(t, record(t, d, place{shift: 3}), want)
		stop()
	})
}

// Bits is what each scenario of the suite gives on a device, bit for bit, to compare devices that ought to agree.
func Bits(t *testing.T, d device.Device) map[string][]uint64 {
	t.Helper()
	return record(t, d, place{})
}

// record runs all scenarios on one lane: what one leaves behind must not matter to the next.
func record(t *testing.T, d device.Device, p place) map[string][]uint64 {
	t.Helper()
	p.unchecked = true
	words := make(map[string][]uint64)
	lane := openLane(t, d)
	for _, s := range scenarios() {
		e := &env{TB: t, place: p, dev: d, lane: lane, rng: rand.New(rand.NewPCG(3, 4))}
		s.run(e)
		words[s.name] = e.words
	}
	return words
}

func compare(t *testing.T, got, want map[string][]uint64) {
	t.Helper()
	for _, s := range scenarios() {
		g, w := got[s.name], want[s.name]
		if len(g) != len(w) || len(w) == 0 && s.name != "NaN" {
			t.Errorf("%s: %d words, want %d", s.name, len(g), len(w))
			continue
		}
		for i := range w {
			if g[i] != w[i] {
				t.Errorf("%s: word %d of %d is %x, want %x", s.name, i, len(w), g[i], w[i])
				break
			}
		}
	}
}

// busy keeps another lane computing until stop is called. It returns when that lane has begun.
func busy(t *testing.T, d device.Device) (stop func()) {
	t.Helper()
	const n = 96
	a, err := device.Alloc[float32](d, 2*n*n)
	if err != nil {
		t.Fatal(err)
	}
	l := openLane(t, d)
	x, y := device.Matrix(a, n, n), device.Matrix(a.Slice(n*n, 2*n*n), n, n)
	ctx, cancel := context.WithCancel(context.Background())
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for first := true; ctx.Err() == nil; first = false {
			l.MatMul(y, 1, x, false, x, true, 0)
			l.Add(x, y, y)
			if first {
				close(begun)
			}
		}
		ended <- l.Sync()
	}()
	<-begun
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("busy lane: %v", err)
		}
		d.Free(a.Addr)
	}
}

// lanes: what happens on one is nothing to another, and each operator advances the beat.
func lanes(t *testing.T, open func(t testing.TB) device.Device) {
	d := openDevice(t, open)
	if d.Lanes() < 1 || d.Name() == "" || d.Class() == "" {
		t.Errorf("device %q of class %q has %d lanes: want names and at least 1", d.Name(), d.Class(), d.Lanes())
	}
	var beat atomic.Uint64
	l, err := d.NewLane(&beat)
	if err != nil {
		t.Fatal(err)
	}
	e := newEnv(t, d, place{})
	x := e.mat(e.normal(3, 4), 0)
	l.Add(x, x, x)
	l.Add(x, x, x)
	if err := l.Sync(); err != nil || beat.Load() < 2 {
		t.Errorf("after two operators the beat is %d, the error %v: want at least 2 and none", beat.Load(), err)
	}
	l.Add(x, x, device.Mat{})
	if l.Sync() == nil {
		t.Error("adding the zero matrix succeeds")
	}
	e.lane.Add(x, x, x)
	if err := e.lane.Sync(); err != nil {
		t.Errorf("another lane's misuse reached this one: %v", err)
	}
	if d.Close() == nil {
		t.Error("the device closes under open lanes")
	}
	if err := l.Close(); err != nil {
		t.Errorf("close lane after an error: %v", err)
	}
}
