//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/ringleader-dev/ringleader/device"
)

// op is one call of an operator. After an error nothing is computed any more.
type op struct {
	device.Check
	l *lane
}

func (l *lane) begin(name string) op {
	if l.beat != nil {
		l.beat.Add(1)
	}
	if l.closed && l.err == nil {
		l.err = errors.New("the lane is closed")
	}
	l.taken = 0
	return op{device.Check{Operator: name, Device: l.dev.name, First: &l.err}, l}
}

// queue runs f, which adds to the stream, with the context current.
func (o op) queue(f func() error) {
	if !o.OK() {
		return
	}
	if err := o.l.dev.within(f); err != nil {
		o.Fail("%w", o.l.lost(err))
	}
}

// grid is how many blocks a launch has.
type grid struct{ x, y int }

// blocks is n/of, rounded up.
func blocks(n, of int) int { return (n + of - 1) / of }

// launch queues a kernel, unless it has no blocks. A matrix is two arguments, its address and stride; a buffer is its address; an integer may be any
// kernel's integer: arguments are in slots of 8 bytes, of which a kernel reads the lower ones.
func (o op) launch(kernel string, g grid, threads int, args ...any) {
	if !o.OK() || g.x == 0 || g.y == 0 {
		return
	}
	f, there := o.l.dev.kernels[kernel]
	if !there {
		o.Fail("there is no kernel %s", kernel)
		return
	}
	slots := make([]uint64, 0, len(args)+8)
	for _, a := range args {
		slots = appendSlots(slots, a)
	}
	params := make([]unsafe.Pointer, len(slots))
	for i := range slots {
		params[i] = unsafe.Pointer(&slots[i])
	}
	if err := o.l.dev.within(func() error { return f.Launch(g.x, g.y, 1, threads, 1, 1, 0, o.l.stream, params) }); err != nil {
		o.Fail("launch %s of %d x %d blocks: %w", kernel, g.x, g.y, o.l.lost(err))
	}
}

func appendSlots(slots []uint64, a any) []uint64 {
	switch a := a.(type) {
	case device.Mat:
		return append(slots, uint64(a.Data.Addr), uint64(a.Stride))
	case device.F32:
		return append(slots, uint64(a.Addr))
	case device.F64:
		return append(slots, uint64(a.Addr))
	case device.I8:
		return append(slots, uint64(a.Addr))
	case device.I16:
		return append(slots, uint64(a.Addr))
	case device.I32:
		return append(slots, uint64(a.Addr))
	case device.I64:
		return append(slots, uint64(a.Addr))
	case device.U32:
		return append(slots, uint64(a.Addr))
	case device.U64:
		return append(slots, uint64(a.Addr))
	case uintptr:
		return append(slots, uint64(a))
	case uint64:
		return append(slots, a)
	case uint32:
		return append(slots, uint64(a))
	case int:
		return append(slots, uint64(a))
	case float32:
		return append(slots, uint64(math.Float32bits(a)))
	case float64:
		return append(slots, math.Float64bits(a))
	case bool:
		if a {
			return append(slots, 1)
		}
		return append(slots, 0)
	case device.Dropping: // key, threshold, keep
		// A draw is a whole number, so that "at least rate*2^24" is "at least its ceiling".
		return append(slots, a.Key, uint64(math.Ceil(float64(a.Rate)*(1<<24))), uint64(math.Float32bits(1-a.Rate)))
	}
	panic(fmt.Sprintf("cuda: kernels take no %T", a)) // a bug of this package
}

// reserve makes room for what take hands out to this operator. What the operators before it use stays until they are done.
func (o op) reserve(bytes ...int) {
	need := 0
	for _, n := range bytes {
		need += padded(n)
	}
	if !o.OK() || need <= o.l.room {
		return
	}
	l := o.l
	need += need / 2 // so that slowly growing batches do not allocate at each step
	err := l.dev.within(func() (err error) {
		if l.scratch != 0 {
			if err = errors.Join(l.wait(), cu.MemFree(cu.DevicePtr(l.scratch))); err != nil {
				return err
			}
			l.scratch, l.room = 0, 0
		}
		if l.scratch, err = l.dev.allocate(need); err == nil {
			l.room = need
		}
		return err
	})
	if err != nil {
		o.Fail("scratch memory: %w", err)
	}
}

func padded(bytes int) int { return (bytes + 255) / 256 * 256 }

// take is n elements of what was reserved.
func take[T device.Number](o op, n int) device.Buf[T] {
	var z T
	addr := o.l.scratch + uintptr(o.l.taken)
	o.l.taken += padded(n * int(unsafe.Sizeof(z)))
	return device.Buf[T]{Addr: addr, N: n}
}

// send uploads to what was taken.
func send[T device.Number](o op, dst device.Buf[T], src []T) {
	taken := o.l.taken
	if o.OK() && len(src) > 0 {
		device.Upload(o.l, dst, src)
	}
	o.l.taken = taken // Upload began an operator of its own
}
