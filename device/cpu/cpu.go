// Package cpu computes on the host: oneDNN for matrix products, and C kernels that compilers vectorise for everything else. It is
// the reference for other devices. With the build tag lean, products are C, too, and nothing is needed but a C library: for machines where a GPU does the work.
//
// Operators run at once, on the calling goroutine and one thread. A lane is therefore one core's worth of work.
//
// What decides the bits of a result: the C source, its compiler, and which code oneDNN picks for the processor. The class names all
// of them. The kernels of this package give the same bits whatever the instruction set.
package cpu

// #cgo CFLAGS: -std=c11 -O3 -Wall -Wextra -Wno-psabi
// #cgo LDFLAGS: -lm
// #include "kernels.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader/device"
)

// Options choose how a device computes.
type Options struct {
	// Lanes is how many shards it computes at a time; 0 means one for each CPU that this process may use.
	Lanes int
	// ISA caps the instruction set, so that unlike machines agree on the bits: empty (the best there is), sse41, avx, avx2, avx512,
	// avx512_bf16 or amx. The cap is the process's, and it cannot be lowered once anything has been computed.
	ISA string
}

// Device is the host.
type Device struct {
	lanes int
	isa   int // of this package's kernels
	class string

	mu     sync.Mutex
	sizes  map[uintptr]int // what is allocated
	used   int             // bytes, sum of sizes
	open   int             // lanes
	closed bool
}

var _ device.Device = (*Device)(nil)

// Open makes the host a device. Several may be open at a time; they differ in nothing but what they count.
func Open(o Options) (*Device, error) {
	if o.Lanes < 0 {
		return nil, fmt.Errorf("open cpu: lanes is %d: want 0 (one for each CPU) or more", o.Lanes)
	}
	if o.Lanes == 0 {
		o.Lanes = runtime.GOMAXPROCS(0)
	}
	isa, err := limitISA(o.ISA)
	if err != nil {
		return nil, fmt.Errorf("open cpu: %w", err)
	}
	return &Device{lanes: o.Lanes, isa: isa, class: class(), sizes: make(map[uintptr]int)}, nil
}

// Name is "cpu".
func (d *Device) Name() string { return "cpu" }

// Class is, for example, "cpu/amd64/avx2/onednn-2.6.3/gcc-12.2-9f3a1c20", or "cpu/amd64/any/plain/..." in a lean build; the last word is a hash of the C source.
func (d *Device) Class() string { return d.class }

// Lanes is how many shards the device computes at a time.
func (d *Device) Lanes() int { return d.lanes }

// NewLane opens a lane. There may be more than Lanes() of them, which then share the CPUs.
func (d *Device) NewLane(beat *atomic.Uint64) (device.Lane, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.New("open lane: the device is closed")
	}
	c := C.cpu_open_lane(C.int(d.isa))
	if c == nil {
		return nil, errors.New("open lane: no memory")
	}
	d.open++
	return &lane{dev: d, c: c, beat: beat}, nil
}

// Close frees all memory of the device. Lanes must be closed before.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open > 0 {
		return fmt.Errorf("close cpu: %d lanes are still open", d.open)
	}
	for addr := range d.sizes {
		C.cpu_release(C.uintptr_t(addr))
	}
	clear(d.sizes)
	d.used, d.closed = 0, true
	return nil
}
