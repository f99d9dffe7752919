package cpu

// #include "kernels.h"
import "C"

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// The C source is hashed into the class: whoever changes a kernel cannot forget that its bits may change.
//
//go:embed *.c *.h
var source embed.FS

func class() string {
	return fmt.Sprintf("cpu/%s/%s/%s-%s", runtime.GOARCH, products(), C.GoString(C.cpu_compiler()), sourceHash())
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
var isaNames = []string{"sse41", "avx", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx"}

// limitISA caps what products use, and returns what this package's own kernels may use.
func limitISA(name string) (kernels int, err error) {
	best := int(C.cpu_best_isa())
	if name == "" {
		return best, nil
	}
	i := slices.Index(isaNames, name)
	if i < 0 {
		return 0, fmt.Errorf("isa is %q: want empty or one of %s", name, strings.Join(isaNames, ", "))
	}
	return min(best, kernelISA(name)), capProducts(i)
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
