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
	return within(take[float32](a, rows*leading(cols)), rows, cols)
}

// within is a rows x cols matrix in a buffer that has room for it, with padded rows.
func within(b device.F32, rows, cols int) device.Mat {
	return device.Mat{Data: b.Slice(0, rows*leading(cols)), Rows: rows, Cols: cols, Stride: leading(cols)}
}

// leading is the stride of a matrix's rows, in elements: whole cache lines, and not a multiple of 512 bytes, where the rows of a column of blocks would
// fall into few sets of a cache. Products with a transposed matrix (the gradients of weights) run twice as fast.
func leading(cols int) int {
	const line, clash = 16, 128
	n := (cols + line - 1) / line * line
	if n%clash == 0 {
		n += line
	}
	return n
}
