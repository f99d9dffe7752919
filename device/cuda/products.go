//go:build cuda

package cuda

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cuda/blaslt"
)

// openProducts opens cuBLASLt, or says why not; the context is current. Its choice of algorithms may depend on the number of multiprocessors.
func (d *gpu) openProducts(own bool) error {
	d.products = "kernels of this program"
	if own {
		return nil
	}
	library, err := blaslt.Open()
	if err != nil {
		d.products += fmt.Sprintf(", without cuBLASLt: %v", err)
		return nil
	}
	d.library = library
	size, err := d.dev.Attribute(cu.MultiprocessorCount)
	if err != nil {
		return fmt.Errorf("count multiprocessors: %w", err)
	}
	d.class += fmt.Sprintf("/cublaslt-%s/%dsm", library.Version(), size)
	d.products = fmt.Sprintf("cuBLASLt %s (%s)", library.Version(), library.File())
	return nil
}

// Products tells what multiplies matrices on a device of this package, for people; it is empty for other devices.
func Products(d device.Device) string {
	if g, ok := d.(*gpu); ok {
		return g.products
	}
	return ""
}

// maxPlans bounds the shapes that a lane remembers: shards have ever other numbers of tokens. Plans are functions of the shape, so that forgetting is harmless.
const maxPlans = 4096

// plan is how cuBLASLt computes a shape, or nil if it cannot.
func (o op) plan(s blaslt.Shape) *blaslt.Plan {
	l := o.l
	p, known := l.plans[s]
	if known || !o.OK() {
		return p
	}
	if len(l.plans) >= maxPlans {
		l.dropPlans()
	}
	err := l.dev.within(func() (err error) {
		if l.workspace == 0 {
			if l.workspace, err = l.dev.allocate(blaslt.Workspace); err != nil {
				return err
			}
		}
		p, err = l.dev.library.Plan(s)
		return err
	})
	if err != nil {
		o.Fail("plan a product of %d x %d x %d: %w", s.Rows, s.Cols, s.Inner, err)
		return nil
	}
	if l.plans == nil {
		l.plans = make(map[blaslt.Shape]*blaslt.Plan)
	}
	l.plans[s] = p
	return p
}

func (l *lane) dropPlans() {
	for _, p := range l.plans {
		if p != nil {
			p.Close()
		}
	}
	clear(l.plans)
}

// multiply is product with cuBLASLt; false if that is not there, or cannot.
func (o op) multiply(dst device.Mat, alpha float32, a device.Mat, transA bool, b device.Mat, transB bool, beta float32) bool {
	inner := a.Cols
	if transA {
		inner = a.Rows
	}
	if o.l.dev.library == nil || !o.OK() || dst.Rows == 0 || dst.Cols == 0 || inner == 0 {
		return false
	}
	s := blaslt.Shape{Rows: dst.Rows, Cols: dst.Cols, Inner: inner, StrideA: a.Stride, StrideB: b.Stride, StrideC: dst.Stride, TransA: transA, TransB: transB}
	if o.l.half {
		s.BFloat16, s.StrideA, s.StrideB = true, halfStride(a), halfStride(b)
	}
	p := o.plan(s)
	if p == nil {
		return false
	}
	atA, atB := a.Data.Addr, b.Data.Addr
	if s.BFloat16 {
		atA, atB = o.halves(a, b)
	}
	stream := unsafe.Pointer(o.l.stream.C())
	o.queue(func() error { return p.Run(stream, dst.Data.Addr, alpha, atA, atB, beta, o.l.workspace) })
	return true
}

// halfStride is the stride of a copy in bfloat16: rows begin at multiples of 16 bytes, whatever the matrix is a view of.
func halfStride(m device.Mat) int { return (m.Cols + 7) / 8 * 8 }

// halves copies operands to scratch memory, in bfloat16. It is that of the operator's product before, too, which is done with it when the copy's turn comes.
func (o op) halves(a, b device.Mat) (atA, atB uintptr) {
	o.l.taken = 0
	o.reserve(2*a.Rows*halfStride(a), 2*b.Rows*halfStride(b))
	copied := func(m device.Mat) uintptr {
		to := take[int16](o, m.Rows*halfStride(m)).Addr
		o.launch("to_bfloat16", elements(m), 256, to, halfStride(m), m, m.Cols)
		return to
	}
	return copied(a), copied(b)
}
