package cpu

// #include "kernels.h"
import "C"

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"runtime"
	"strings"
)

// The C source is hashed into the class: whoever changes a kernel cannot forget that its bits may change.
//
//go:embed *.c *.h
var source embed.FS

func class() string {
	var major, minor, patch C.int
	C.cpu_dnnl_version(&major, &minor, &patch)
	return fmt.Sprintf("cpu/%s/%s/onednn-%d.%d.%d/%s-%s", runtime.GOARCH, effectiveISA(), major, minor, patch,
		C.GoString(C.cpu_compiler()), sourceHash())
}

func sourceHash() string {
	h := sha256.New()
	entries, err := source.ReadDir(".") // sorted by name
	for _, e := range entries {
		var text []byte
		if text, err = source.ReadFile(e.Name()); err != nil {
			break
		}
		fmt.Fprintf(h, "%s %d\n%s", e.Name(), len(text), text)
	}
	if err != nil {
		return "unknown" // what was embedded can always be read
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:4])
}

// isaNames are the instruction sets that can be asked for, weakest first.
func isaNames() (names []string) {
	for i := C.int(0); C.cpu_isa_name(i) != nil; i++ {
		names = append(names, C.GoString(C.cpu_isa_name(i)))
	}
	return names
}

func effectiveISA() string {
	if i := C.cpu_effective_isa(); i >= 0 {
		return C.GoString(C.cpu_isa_name(i))
	}
	return "best" // newer than any that this package knows
}

// limitISA caps oneDNN, and returns what this package's own kernels may use.
func limitISA(name string) (kernels int, err error) {
	best := int(C.cpu_best_isa())
	if name == "" {
		return best, nil
	}
	for i, n := range isaNames() {
		if n != name {
			continue
		}
		if C.cpu_cap_isa(C.int(i)) == 0 {
			// Too late to change; it does not matter if oneDNN is within the cap anyhow.
			if e := C.cpu_effective_isa(); e < 0 || int(e) > i {
				return 0, fmt.Errorf("isa is %q, but this process already computes with %s: choose it before anything is computed", name, effectiveISA())
			}
		}
		return min(best, kernelISA(name)), nil
	}
	return 0, fmt.Errorf("isa is %q: want empty or one of %s", name, strings.Join(isaNames(), ", "))
}

func kernelISA(name string) int {
	switch {
	case strings.HasPrefix(name, "avx512") || name == "amx":
		return C.CPU_AVX512
	case strings.HasPrefix(name, "avx2"):
		return C.CPU_AVX2
	default:
		return C.CPU_PLAIN
	}
}
