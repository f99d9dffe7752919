// Package timed is a device that knows where its time goes: it wraps another one, and notes what each operator costs and which matrix
// products it amounts to.
//
// Costs are CPU time of the calling thread, which does not count what other processes take. So it is for devices whose operators run
// on the calling goroutine, as those of device/cpu do.
package timed

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringleader-dev/ringleader/device"
)

// Device is another device, with notes.
type Device struct {
	device.Device
	notes atomic.Int32

	mu    sync.Mutex
	lanes []*lane
}

var _ device.Hosted = (*Device)(nil)

// Notes is what is noted of operators: one at a time, because each costs a little that would be counted in the other.
type Notes int32

// What Record takes.
const (
	Nothing Notes = iota
	Costs
	Products
)

// Wrap makes d a device that can take notes. It takes none until it is told to, and costs a branch for each operator then.
func Wrap(d device.Device) *Device { return &Device{Device: d} }

// Host forwards.
func (d *Device) Host(addr uintptr, bytes int) []byte {
	if hosted, ok := d.Device.(device.Hosted); ok {
		return hosted.Host(addr, bytes)
	}
	return nil
}

// NewLane opens a lane whose operators are noted.
func (d *Device) NewLane(beat *atomic.Uint64) (device.Lane, error) {
	inner, err := d.Device.NewLane(beat)
	if err != nil {
		return nil, err
	}
	l := &lane{to: inner, dev: d, costs: map[string]*Cost{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lanes = append(d.lanes, l)
	return l, nil
}

// Record says what is noted from now on; earlier notes stay. No operator may run meanwhile, nor in Costs and Products.
func (d *Device) Record(n Notes) { d.notes.Store(int32(n)) }

func (l *lane) noting(n Notes) bool { return l.dev.notes.Load() == int32(n) }

// Cost is what an operator took, in all calls.
type Cost struct {
	Operator string
	Calls    int
	CPU      time.Duration
}

// Costs are those of all lanes, the dearest operator first.
func (d *Device) Costs() []Cost {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := map[string]*Cost{}
	var all []*Cost
	for _, l := range d.lanes {
		for name, c := range l.costs {
			if sum[name] == nil {
				sum[name] = &Cost{Operator: name}
				all = append(all, sum[name])
			}
			sum[name].Calls += c.Calls
			sum[name].CPU += c.CPU
		}
	}
	slices.SortFunc(all, func(a, b *Cost) int {
		if a.CPU != b.CPU {
			return int(min(max(b.CPU-a.CPU, -1), 1))
		}
		return strings.Compare(a.Operator, b.Operator)
	})
	list := make([]Cost, len(all))
	for i, c := range all {
		list[i] = *c
	}
	return list
}

// Products are the matrix products of each lane, in order. See Product.
func (d *Device) Products() [][]Product {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all [][]Product
	for _, l := range d.lanes {
		if len(l.products) > 0 {
			all = append(all, slices.Clone(l.products))
		}
	}
	return all
}

// lane forwards everything.
type lane struct {
	to       device.Lane
	dev      *Device
	costs    map[string]*Cost
	products []Product
}

var _ device.Lane = (*lane)(nil)

// run notes what an operator costs.
func (l *lane) run(name string, operator func()) {
	if !l.noting(Costs) {
		operator()
		return
	}
	// The clock is the thread's: the goroutine must stay on it.
	runtime.LockOSThread()
	before := threadTime()
	operator()
	spent := threadTime() - before
	runtime.UnlockOSThread()
	c := l.costs[name]
	if c == nil {
		c = &Cost{}
		l.costs[name] = c
	}
	c.Calls++
	c.CPU += spent
}

// note keeps the products of an operator.
func (l *lane) note(products func() []Product) {
	if l.noting(Products) {
		l.products = append(l.products, products()...)
	}
}

// threadTime is the CPU time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(fmt.Sprintf("device/timed: read the thread's clock: %v", err)) // Linux has it
	}
	return time.Duration(t.Nano())
}

// Sync waits on the wrapped lane.
func (l *lane) Sync() error { return l.to.Sync() }

// Close closes the wrapped lane; the notes stay.
func (l *lane) Close() error { return l.to.Close() }
