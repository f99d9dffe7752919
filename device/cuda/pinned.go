//go:build cuda

package cuda

// #cgo LDFLAGS: -lcuda
// #include <cuda.h>
import "C"

import (
	"fmt"
	"unsafe"
)

// pinned allocates host memory that the GPU reads by itself, which gorgonia.org/cu does not offer. The context is current.
func pinned(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if code := C.cuMemHostAlloc(&p, C.size_t(bytes), 0); code != C.CUDA_SUCCESS {
		return nil, fmt.Errorf("allocate %d bytes of pinned memory: error %d of the driver", bytes, int(code))
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}
