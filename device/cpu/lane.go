package cpu

// #include "kernels.h"
import "C"

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ringleader-dev/ringleader/device"
)

// lane implements device.Lane. Every operator checks all that shapes can tell before it touches memory.
type lane struct {
	dev  *Device
	c    *C.cpu_lane // nil: closed
	beat *atomic.Uint64
	err  error // the first
}

var _ device.Lane = (*lane)(nil)

// Sync returns the first error: nothing runs behind the caller's back.
func (l *lane) Sync() error { return l.err }

// SetPrecision takes the processor's instructions for bfloat16 if it has some, and otherwise rounds floats.
func (l *lane) SetPrecision(p device.Precision) {
	o := l.begin("SetPrecision")
	o.Want(p == device.Float32 || p == device.BFloat16, "precision %d: want Float32 or BFloat16", p)
	if !o.OK() {
		return
	}
	l.c.products = C.CPU_FLOAT32
	if p == device.BFloat16 {
		l.c.products = C.CPU_BFLOAT16
		if C.cpu_has_bfloat16() != 0 {
			l.c.products = C.CPU_BFLOAT16_NATIVE
		}
	}
}

// takePrimitives makes products of float32 take the code of native bfloat16: a test's way to it on any machine.
func (l *lane) takePrimitives() { l.c.products = C.CPU_FLOAT32_PRIMITIVE }

// Close frees the scratch memory. It returns nil: errors of operators are Sync's.
func (l *lane) Close() error {
	if l.c == nil {
		return nil
	}
	C.cpu_close_lane(l.c)
	l.c = nil
	l.dev.mu.Lock()
	l.dev.open--
	l.dev.mu.Unlock()
	return nil
}

// op is one call of an operator. After an error nothing is computed any more.
type op struct {
	device.Check
	l *lane
}

func (l *lane) begin(name string) op {
	if l.beat != nil {
		l.beat.Add(1)
	}
	if l.c == nil && l.err == nil {
		l.err = errors.New("the lane is closed")
	}
	return op{device.Check{Operator: name, Device: "cpu", First: &l.err}, l}
}

// end notes what the kernel returned.
func (o op) end(status C.int) {
	switch status {
	case C.CPU_OK:
	case C.CPU_NO_MEMORY:
		o.Fail("no memory for scratch")
	case C.CPU_BAD_INDEX:
		o.Fail("an index is outside of the rows that it chooses from")
	case C.CPU_GEMM_FAILED:
		o.Fail("a matrix product was refused")
	default:
		o.Fail("unknown status %d", int(status))
	}
}

func addr[T device.Number](b device.Buf[T]) C.uintptr_t { return C.uintptr_t(b.Addr) }

// optional is 0 if b is empty.
func optional[T device.Number](b device.Buf[T]) C.uintptr_t {
	if b.N == 0 {
		return 0
	}
	return addr(b)
}

func mat(m device.Mat) C.cpu_mat {
	return C.cpu_mat{addr: addr(m.Data), rows: C.int64_t(m.Rows), cols: C.int64_t(m.Cols), stride: C.int64_t(m.Stride)}
}

// host is the address of host memory for the time of a call.
func host(s []int32) *C.int32_t { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(s))) }

// Upload copies from the host; so does Download to it, and Copy within the device.
func (l *lane) Upload(dst uintptr, src unsafe.Pointer, bytes int) {
	l.move("Upload", dst, uintptr(src), bytes)
	runtime.KeepAlive(src)
}

// Download copies to the host.
func (l *lane) Download(dst unsafe.Pointer, src uintptr, bytes int) {
	if to := uintptr(dst); bytes >= largeCopy && to != 0 && src != 0 && to != src {
		l.downloadLarge(to, src, uintptr(bytes))
	} else {
		l.move("Download", to, src, bytes)
	}
	runtime.KeepAlive(dst)
}

// largeCopy is how many bytes are worth several threads: training waits for the copy of a whole state, and one thread does not fill the memory
// bus.
const largeCopy = 4 << 20

func (l *lane) downloadLarge(dst, src, bytes uintptr) {
	if o := l.begin("Download"); !o.OK() {
		return
	}
	var all sync.WaitGroup
	chunk := bytes/uintptr(min(4, runtime.GOMAXPROCS(0)))/64*64 + 64
	for at := uintptr(0); at < bytes; at += chunk {
		all.Go(func() { C.cpu_copy_past(C.uintptr_t(dst+at), C.uintptr_t(src+at), C.size_t(min(chunk, bytes-at))) })
	}
	all.Wait()
}

// Copy copies; the two may overlap.
func (l *lane) Copy(dst, src uintptr, bytes int) { l.move("Copy", dst, src, bytes) }

func (l *lane) move(name string, dst, src uintptr, bytes int) {
	o := l.begin(name)
	o.Want(bytes >= 0, "%d bytes: want 0 or more", bytes)
	o.Want(bytes == 0 || dst != 0 && src != 0, "an address is 0: want memory of %d bytes", bytes)
	if o.OK() && bytes > 0 && dst != src {
		C.cpu_copy(C.uintptr_t(dst), C.uintptr_t(src), C.size_t(bytes))
	}
}

// Zero clears memory.
func (l *lane) Zero(dst uintptr, bytes int) {
	o := l.begin("Zero")
	o.Want(bytes >= 0, "%d bytes: want 0 or more", bytes)
	o.Want(bytes == 0 || dst != 0, "the address is 0: want memory of %d bytes", bytes)
	if o.OK() && bytes > 0 {
		C.cpu_zero(C.uintptr_t(dst), C.size_t(bytes))
	}
}
