//go:build !lean

package cpu

// #cgo CFLAGS: -fopenmp
// #cgo LDFLAGS: -ldnnl -fopenmp
// #include "kernels.h"
import "C"

import "fmt"

// products names what decides the bits of a product: the instruction set, then the library.
func products() string {
	var major, minor, patch C.int
	C.cpu_dnnl_version(&major, &minor, &patch)
	return fmt.Sprintf("%s/onednn-%d.%d.%d", effectiveISA(), major, minor, patch)
}

func effectiveISA() string {
	if i := C.cpu_effective_isa(); i >= 0 {
		return isaNames[i]
	}
	return "best" // newer than any that this package knows
}

// capProducts keeps oneDNN within an instruction set.
func capProducts(isa int) error {
	if C.cpu_cap_isa(C.int(isa)) != 0 {
		return nil
	}
	// Too late to change; it does not matter if oneDNN is within the cap anyhow.
	if e := C.cpu_effective_isa(); e < 0 || int(e) > isa {
		return fmt.Errorf("isa is %q, but this process already computes with %s: choose it before anything is computed", isaNames[isa], effectiveISA())
	}
	return nil
}
