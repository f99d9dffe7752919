package cpu

// #include "kernels.h"
import "C"

import (
	"errors"
	"fmt"
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
	o.want(p == device.Float32 || p == device.BFloat16, "precision %d: want Float32 or BFloat16", p)
	if !o.ok() {
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
	l    *lane
	name string
}

func (l *lane) begin(name string) op {
	if l.beat != nil {
		l.beat.Add(1)
	}
	if l.c == nil && l.err == nil {
		l.err = errors.New("the lane is closed")
	}
	return op{l, name}
}

func (o op) ok() bool { return o.l.err == nil }

func (o op) fail(format string, args ...any) {
	if o.l.err == nil {
		o.l.err = fmt.Errorf("run "+o.name+" on cpu: "+format, args...)
	}
}

// want fails unless the condition holds.
func (o op) want(ok bool, format string, args ...any) {
	if !ok {
		o.fail(format, args...)
	}
}

// end notes what the kernel returned.
func (o op) end(status C.int) {
	switch status {
	case C.CPU_OK:
	case C.CPU_NO_MEMORY:
		o.fail("no memory for scratch")
	case C.CPU_BAD_INDEX:
		o.fail("an index is outside of the rows that it chooses from")
	case C.CPU_GEMM_FAILED:
		o.fail("oneDNN refused a matrix product")
	default:
		o.fail("unknown status %d", int(status))
	}
}

// mat checks that m is a rows x cols matrix within its buffer.
func (o op) mat(name string, m device.Mat, rows, cols int) {
	switch {
	case rows < 0 || cols < 0 || m.Rows != rows || m.Cols != cols:
		o.fail("%s is %d x %d: want %d x %d", name, m.Rows, m.Cols, rows, cols)
	case rows == 0 || cols == 0:
	case m.Data.Addr == 0:
		o.fail("%s has no memory: want %d x %d", name, rows, cols)
	case m.Stride < cols:
		o.fail("%s has stride %d: want at least its %d columns", name, m.Stride, cols)
	case m.Data.N < cols || rows-1 > (m.Data.N-cols)/m.Stride:
		o.fail("%s of %d x %d, stride %d, has a buffer of %d elements only", name, rows, cols, m.Stride, m.Data.N)
	}
}

// wanted is mat, unless m is zero: not wanted.
func (o op) wanted(name string, m device.Mat, rows, cols int) {
	if !m.IsZero() {
		o.mat(name, m, rows, cols)
	}
}

// vec checks that b has n elements.
func vec[T device.Number](o op, name string, b device.Buf[T], n int) {
	switch {
	case n < 0 || b.N != n:
		o.fail("%s has %d elements: want %d", name, b.N, n)
	case n > 0 && b.Addr == 0:
		o.fail("%s has no memory: want %d elements", name, n)
	}
}

// room checks that b has n elements at least.
func room[T device.Number](o op, name string, b device.Buf[T], n int) {
	if b.N < n || b.Addr == 0 {
		o.fail("%s has %d elements: want %d", name, b.N, n)
	}
}

// segments checks that they cover the tokens.
func (o op) segments(s device.Segments, tokens int) {
	if len(s.Host) == 0 {
		o.want(tokens == 0, "there are no segments: want offsets 0..%d", tokens)
		return
	}
	last := int32(0)
	o.want(s.Host[0] == 0, "segments begin at %d: want 0", s.Host[0])
	for i, at := range s.Host {
		if at < last {
			o.fail("offset %d of segments is %d, less than the %d before", i, at, last)
			return
		}
		last = at
	}
	o.want(int(last) == tokens, "segments end at %d: want the number of tokens, %d", last, tokens)
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
	if to := uintptr(dst); bytes >= largeCopy && to != 0 && src != 0 {
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
	if o := l.begin("Download"); !o.ok() {
		return
	}
	var all sync.WaitGroup
	chunk := bytes/uintptr(min(4, runtime.GOMAXPROCS(0)))/64*64 + 64
	for at := uintptr(0); at < bytes; at += chunk {
		all.Go(func() { C.cpu_copy(C.uintptr_t(dst+at), C.uintptr_t(src+at), C.size_t(min(chunk, bytes-at))) })
	}
	all.Wait()
}

// Copy copies; the two may overlap.
func (l *lane) Copy(dst, src uintptr, bytes int) { l.move("Copy", dst, src, bytes) }

func (l *lane) move(name string, dst, src uintptr, bytes int) {
	o := l.begin(name)
	o.want(bytes >= 0, "%d bytes: want 0 or more", bytes)
	o.want(bytes == 0 || dst != 0 && src != 0, "an address is 0: want memory of %d bytes", bytes)
	if o.ok() && bytes > 0 {
		C.cpu_copy(C.uintptr_t(dst), C.uintptr_t(src), C.size_t(bytes))
	}
}

// Zero clears memory.
func (l *lane) Zero(dst uintptr, bytes int) {
	o := l.begin("Zero")
	o.want(bytes >= 0, "%d bytes: want 0 or more", bytes)
	o.want(bytes == 0 || dst != 0, "the address is 0: want memory of %d bytes", bytes)
	if o.ok() && bytes > 0 {
		C.cpu_zero(C.uintptr_t(dst), C.size_t(bytes))
	}
}
