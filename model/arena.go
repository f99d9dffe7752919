package model

import (
	"fmt"
	"unsafe"

	"github.com/ringleader-dev/ringleader/device"
)

// arena hands out device memory from one block that is kept from step to step. Who uses it writes down its needs as one function that
// takes buffers; fit runs it once to measure and, if the block is too small, again on a larger one. So a step allocates only when it is
// larger than all before it.
type arena struct {
	dev  device.Device
	addr uintptr
	size int // bytes
	used int
}

// alignment of every buffer, in bytes: a cache line.
const alignment = 64

// fit makes room for what take takes. The buffers of an earlier fit are lost; the lane must have finished with them.
func (a *arena) fit(take func()) error {
	a.used = 0
	take()
	if a.used <= a.size {
		return nil
	}
	need := a.used + a.used/4 // batches vary: grow seldom
	a.close()
	addr, err := a.dev.Malloc(need)
	if err != nil {
		return fmt.Errorf("reserve %d bytes for activations: %w", need, err)
	}
	a.addr, a.size, a.used = addr, need, 0
	take()
	return nil
}

func (a *arena) close() {
	if a.addr != 0 {
		a.dev.Free(a.addr)
	}
	a.addr, a.size = 0, 0
}

// take is the next n elements. Past the end of the block, while fit measures, the buffer must not be used.
func take[T device.Number](a *arena, n int) device.Buf[T] {
	var z T
	b := device.Buf[T]{Addr: a.addr + uintptr(a.used), N: n}
	a.used += (n*int(unsafe.Sizeof(z)) + alignment - 1) / alignment * alignment
	return b
}

func (a *arena) mat(rows, cols int) device.Mat {
	return device.Matrix(take[float32](a, rows*cols), rows, cols)
}
