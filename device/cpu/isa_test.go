package cpu

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/internal/counter"
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

var printHash = flag.Bool("print-hash", false, "let TestOneThread print the hash of a product and do no more")

// With more threads oneDNN splits a long sum, and gives other bits. What the environment asks for must not matter.
func TestOneThread(t *testing.T) {
	if *printHash {
		fmt.Printf("hash %016x\n", hashOfProduct(t))
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, threads := range []string{"1", "3"} {
		c := exec.Command(self, "-print-hash", "-test.run=^TestOneThread$")
		c.Env = append(os.Environ(), "OMP_NUM_THREADS="+threads)
		out, err := c.CombinedOutput()
		at := strings.Index(string(out), "hash ")
		if err != nil || at < 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		hashes = append(hashes, string(out[at:at+21]))
	}
	if hashes[0] != hashes[1] {
		t.Errorf("with one thread %s, with three %s", hashes[0], hashes[1])
	}
}

func hashOfProduct(t *testing.T) uint64 {
	t.Helper()
	d := openKernels(t, -1)
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	const n, k = 8, 20000
	b, err := device.Alloc[float32](d, n*k+n*n)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, n*k)
	for i := range x {
		x[i] = float32(counter.Unit(1, uint64(i)))
	}
	device.Upload(l, b.Slice(0, n*k), x)
	a, c := device.Matrix(b, n, k), device.Matrix(b.Slice(n*k, b.N), n, n)
	l.MatMul(c, 1, a, false, a, true, 0)
	hash := l.Hash(c.Data, 0)
	if err := errors.Join(l.Sync(), l.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	return hash
}
