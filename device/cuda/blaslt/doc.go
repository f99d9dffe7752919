// Package blaslt multiplies matrices of a GPU with cuBLASLt, NVIDIA's library, where that is: it is opened at run time and never linked. It is compiled with
// the build tag cuda. abi.h holds what is known of the library's binary interface.
//
// # Bits
//
// The algorithm that computes a product decides its bits. It is the first that the library names for the shape, with a fixed size of workspace and fixed
// promises of alignment: so it depends on nothing but the shape, the library's version and the GPU; addresses, time and other streams have no say. Nothing is
// tried and timed. Parts of a long sum may be added up in a step of their own, never by whoever comes first.
package blaslt

// Workspace is how many bytes of the device's memory a product may use beside its matrices, aligned to 256 bytes.
const Workspace = 32 << 20

// Shape is everything beside the numbers that decides the bits of C = alpha*op(A)*op(B) + beta*C of row-major matrices: C is Rows x Cols, its sums have
// Inner terms, and op transposes if told to. Operands are float32, and multiplied in float32; or they are bfloat16, with addresses and
// strides that are multiples of 16 bytes. Sums and C are float32.
type Shape struct {
	Rows, Cols, Inner         int
	StrideA, StrideB, StrideC int // elements
	TransA, TransB, BFloat16  bool
}
