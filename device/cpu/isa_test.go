package cpu

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var isa = flag.String("isa", "", "instruction set that the devices of these tests are limited to")

// A cap holds for the whole process, so it is tried in another one: the suite must pass with the weakest instruction set, too.
func TestCapped(t *testing.T) {
	if *isa != "" {
		t.Skip("this is the other process")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, "-isa=sse41", "-test.run=^(TestDevice|TestCap)$/^(MatMul|Linear|Attention|DenseAllAction)$").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

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
