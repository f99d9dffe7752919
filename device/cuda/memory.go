//go:build cuda

package cuda

import (
	"errors"
	"fmt"

	"gorgonia.org/cu"

	"github.com/ringleader-dev/ringleader/device"
)

// Malloc returns zeroed memory of the GPU.
func (d *gpu) Malloc(bytes int) (addr uintptr, err error) {
	if bytes < 0 {
		return 0, fmt.Errorf("allocate on %s: %d bytes: want 0 or more", d.name, bytes)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, fmt.Errorf("allocate on %s: the device is closed", d.name)
	}
	err = d.within(func() error { addr, err = d.allocate(bytes); return err })
	if err == nil {
		d.sizes[addr] = bytes
	}
	return addr, err
}

// allocate: what is freed while a lane still works on it stays until that is done, as cuMemFree waits.
func (d *gpu) allocate(bytes int) (uintptr, error) {
	p, err := cu.MemAlloc(int64(max(bytes, 1)))
	if errors.Is(err, cu.OutOfMemory) {
		free, total, _ := cu.MemInfo() // the figures are only told
		return 0, &device.OutOfMemory{Device: d.name, Asked: bytes, Free: int(free), Total: int(total)}
	}
	if err != nil {
		return 0, fmt.Errorf("allocate %d bytes on %s: %w", bytes, d.name, err)
	}
	// A stream of a lane does not wait for this one: the memory must be zero before it is given away.
	if err := errors.Join(cu.MemsetD8(p, 0, int64(max(bytes, 1))), cu.Synchronize()); err != nil {
		return 0, errors.Join(fmt.Errorf("clear memory of %s: %w", d.name, err), cu.MemFree(p))
	}
	d.look()
	return uintptr(p), nil
}

// inUse is how many bytes of the GPU's memory are, by anybody.
func (d *gpu) inUse() (bytes int64, err error) {
	err = d.within(func() error {
		free, total, err := cu.MemInfo()
		bytes = total - free
		return err
	})
	return bytes, err
}

// look notes how much memory is in use.
func (d *gpu) look() {
	used, err := d.inUse()
	for peak := d.peak.Load(); err == nil && used > peak && !d.peak.CompareAndSwap(peak, used); peak = d.peak.Load() {
	}
}

// Peak is the most memory in use at a time, in bytes and as the driver counts it: what was in use when the device was opened is left out, and what other
// processes took since is not.
func (d *gpu) Peak() int { return int(max(d.peak.Load()-d.before, 0)) }

// Free releases what Malloc returned; 0 and what was freed before are passed over.
func (d *gpu) Free(addr uintptr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.sizes[addr]; !ok {
		return
	}
	delete(d.sizes, addr)
	_ = d.within(func() error { return cu.MemFree(cu.DevicePtr(addr)) }) // a device that is lost is Sync's to report
}
