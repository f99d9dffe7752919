//go:build cuda

package blaslt

// #include <stdlib.h>
// #include "plan.h"
import "C"

import "unsafe"

// Plan is how one shape is computed.
type Plan struct {
	library *Library
	c       *C.struct_lt_plan
}

// tooLarge is a number of elements, of 2^31, from which on the library is not asked: some versions choose algorithms that fail there.
const tooLarge = 1 << 31

// Plan chooses an algorithm, with the context current. Without an error, nil means that the library has none for this shape.
func (l *Library) Plan(s Shape) (*Plan, error) {
	if s.spans() >= tooLarge {
		return nil, nil
	}
	p, err := l.describe(s)
	if err != nil {
		return nil, err
	}
	switch status := C.lt_choose(p.c, l.handle); status {
	case C.LT_SUCCESS:
		return p, nil
	case C.LT_NOT_SUPPORTED:
		p.Close()
		return nil, nil
	default:
		p.Close()
		return nil, l.status("choose an algorithm", status)
	}
}

// spans is how many elements the largest of the matrices reaches over.
func (s Shape) spans() int {
	rowsA, rowsB := s.Rows, s.Inner
	if s.TransA {
		rowsA = s.Inner
	}
	if s.TransB {
		rowsB = s.Cols
	}
	return max(rowsA*s.StrideA, rowsB*s.StrideB, s.Rows*s.StrideC)
}

// describe: what is row-major is the transpose of what is column-major, and the transpose of op(A)*op(B) is op(B)^T * op(A)^T: the library's first operand is B.
func (l *Library) describe(s Shape) (*Plan, error) {
	shape := C.struct_lt_shape{
		rows: C.int64_t(s.Cols), cols: C.int64_t(s.Rows), inner: C.int64_t(s.Inner),
		lda: C.int64_t(s.StrideB), ldb: C.int64_t(s.StrideA), ldd: C.int64_t(s.StrideC),
		op_a: transposed(s.TransB), op_b: transposed(s.TransA), kind: C.LT_FLOAT32, align_ab: 4, align_d: 4,
	}
	if s.BFloat16 {
		shape.kind, shape.align_ab = C.LT_BFLOAT16, 16
	}
	p := &Plan{library: l, c: (*C.struct_lt_plan)(C.calloc(1, C.sizeof_struct_lt_plan))}
	if err := l.status("describe a product", C.lt_describe(p.c, l.calls, &shape, Workspace)); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func transposed(yes bool) C.int32_t {
	if yes {
		return C.LT_OP_T
	}
	return C.LT_OP_N
}

// Run queues c = alpha*op(a)*op(b) + beta*c on a stream (a CUstream), with the context current. Addresses are the device's; no other stream may use the workspace.
// With beta 0, what c was does not matter.
func (p *Plan) Run(stream unsafe.Pointer, c uintptr, alpha float32, a, b uintptr, beta float32, workspace uintptr) error {
	return p.library.status("multiply", C.lt_run(p.c, C.uintptr_t(c), C.float(alpha), C.uintptr_t(b), C.uintptr_t(a), C.float(beta), C.uintptr_t(workspace), stream))
}

// Close frees the plan; what it queued goes on.
func (p *Plan) Close() {
	C.lt_drop(p.c)
	C.free(unsafe.Pointer(p.c))
}
