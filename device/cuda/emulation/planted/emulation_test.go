//go:build cuda

// The emulated device is driven as device/cuda drives any device, through gorgonia.org/cu: `make test-cuda` compiles it and
// names the library of kernels with defects in RINGLEADER_PLANTED.
package planted

import (
	"math"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
)

// gpu is a context of the emulated device with the planted kernels.
type gpu struct {
	testing.TB
	ctx    cu.CUContext
	stream cu.Stream
	module cu.Module
}

// open makes a context on this thread. settings are those of configuration.h.
func open(t testing.TB, settings string) *gpu {
	t.Helper()
	library := os.Getenv("RINGLEADER_PLANTED")
	if library == "" {
		t.Skip("RINGLEADER_PLANTED is not set: run make test-cuda")
	}
	t.Setenv("RINGLEADER_EMULATION", settings)
	runtime.LockOSThread()
	device, err := cu.GetDevice(0)
	must(t, err)
	ctx, err := device.MakeContext(cu.SchedAuto)
	must(t, err)
	stream, err := cu.MakeStream(cu.NonBlocking)
	must(t, err)
	module, err := cu.Load(library)
	must(t, err)
	return &gpu{t, ctx, stream, module}
}

// close frees what open made; the error tells of leaks, or what the device died of.
func (g *gpu) close() error {
	defer runtime.UnlockOSThread()
	_ = g.stream.Destroy()
	_ = g.module.Unload()
	return g.ctx.Destroy()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g *gpu) malloc(bytes int) cu.DevicePtr {
	g.Helper()
	p, err := cu.MemAlloc(int64(bytes))
	must(g, err)
	return p
}

func (g *gpu) upload(x []float32) cu.DevicePtr {
	g.Helper()
	p := g.malloc(4 * len(x))
	must(g, cu.MemcpyHtoD(p, unsafe.Pointer(&x[0]), int64(4*len(x))))
	return p
}

func (g *gpu) download(p cu.DevicePtr, n int) []float32 {
	g.Helper()
	must(g, g.stream.Synchronize())
	x := make([]float32, n)
	must(g, cu.MemcpyDtoH(unsafe.Pointer(&x[0]), p, int64(4*n)))
	return x
}

func (g *gpu) free(pointers ...cu.DevicePtr) {
	for _, p := range pointers {
		must(g, cu.MemFree(p))
	}
}

// launch runs a kernel with arguments that are device pointers, float32 or int32.
func (g *gpu) launch(name string, blocks, threads, shared int, args ...any) error {
	g.Helper()
	f, err := g.module.Function(name)
	if err != nil {
		return err
	}
	slots := make([]uint64, len(args)) // Launch reads 8 bytes for each
	params := make([]unsafe.Pointer, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case cu.DevicePtr:
			slots[i] = uint64(a)
		case float32:
			slots[i] = uint64(math.Float32bits(a))
		case int32:
			slots[i] = uint64(uint32(a))
		default:
			g.Fatalf("argument %d is a %T", i, a)
		}
		params[i] = unsafe.Pointer(&slots[i])
	}
	if err := f.Launch(blocks, 1, 1, threads, 1, 1, shared, g.stream, params); err != nil {
		return err
	}
	return g.stream.Synchronize()
}
