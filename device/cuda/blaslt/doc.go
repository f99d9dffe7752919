// Package blaslt multiplies matrices of a GPU with cuBLASLt, NVIDIA's library, if it is there: it is opened at run time and never linked. It is compiled with the
// build tag cuda.
//
// # Bits
//
// Which algorithm computes a product decides its bits. It is the first that the library names for the shape, types and strides, with a fixed size of workspace and
// fixed promises of alignment: so it depends on nothing but those, the library's version and the GPU, and addresses, time and other streams have no say. Nothing is tried and timed. Parts of a
// long sum may be added up in a separate step, never by whoever comes first.
package blaslt

// Workspace is how many bytes of the device's memory a product may use beside its matrices, aligned to 256 bytes.
const Workspace = 32 << 20

// Shape is everything beside the numbers that decides the bits of C = alpha*op(A)*op(B) + beta*C, of row-major matrices: C is Rows x Cols, the sums have Inner terms,
// and each matrix has a stride. Operands are float32, multiplied in float32; or, with BFloat16, bfloat16, at addresses and with strides that are multiples of 16 bytes.
// Sums and C are float32.
type Shape struct {
	Rows, Cols, Inner         int
	StrideA, StrideB, StrideC int // elements
	TransA, TransB, BFloat16  bool
}
