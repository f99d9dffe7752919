package cpu

// #include "kernels.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"github.com/ringleader-dev/ringleader/device"
)

// large is the size in bytes above which an allocation looks first at what the host has left: Linux grants more than there is, and
// kills the process when it is touched.
const large = 64 << 20

var _ device.Hosted = (*Device)(nil)

// Malloc returns zeroed memory outside Go's heap.
func (d *Device) Malloc(bytes int) (uintptr, error) {
	if bytes < 0 {
		return 0, fmt.Errorf("allocate on cpu: %d bytes: want 0 or more", bytes)
	}
	if bytes >= large {
		if free, ok := available(); ok && bytes > free {
			return 0, noMemory(bytes, free)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, errors.New("allocate on cpu: the device is closed")
	}
	addr := uintptr(unsafe.Pointer(C.cpu_alloc(C.size_t(bytes))))
	if addr == 0 {
		free, _ := available()
		return 0, noMemory(bytes, free)
	}
	d.sizes[addr] = bytes
	d.used += bytes
	return addr, nil
}

func noMemory(asked, free int) error {
	return &device.OutOfMemory{Device: "cpu", Asked: asked, Free: free}
}

// Free releases what Malloc returned; 0 and what was freed before are passed over.
func (d *Device) Free(addr uintptr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	bytes, ok := d.sizes[addr]
	if !ok {
		return
	}
	delete(d.sizes, addr)
	d.used -= bytes
	C.cpu_release(C.uintptr_t(addr))
}

// Host is the memory itself.
func (d *Device) Host(addr uintptr, bytes int) []byte {
	return unsafe.Slice((*byte)(C.cpu_host(C.uintptr_t(addr))), bytes)
}

// Used is how many bytes are allocated, without the scratch of lanes.
func (d *Device) Used() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// available is what Linux says that programs can still get, in bytes; not ok elsewhere.
func available() (bytes int, ok bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(text), "MemAvailable:")
	if !found {
		return 0, false
	}
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.Atoi(number)
	return kib << 10, err == nil
}
