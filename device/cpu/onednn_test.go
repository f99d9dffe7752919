//go:build !lean

package cpu

import (
	"strings"
	"testing"
)

func TestCap(t *testing.T) {
	d := openKernels(t, -1)
	if *isa != "" && (!strings.Contains(d.Class(), "/"+*isa+"/") || d.isa != kernelISA(*isa)) {
		t.Errorf("class %s, kernels %d: want those of %s", d.Class(), d.isa, *isa)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	// What oneDNN keeps to already may be asked for again; less is too late.
	again, err := Open(Options{ISA: strings.Split(d.Class(), "/")[2]})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if *isa == "" && effectiveISA() != "sse41" {
		if _, err := Open(Options{ISA: "sse41"}); err == nil || !strings.Contains(err.Error(), "already computes with") {
			t.Errorf("a cap that comes too late: %v", err)
		}
	}
}
