package cpu

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/devicetest"
)

func open(t testing.TB) device.Device { return openKernels(t, -1) }

// openKernels opens a device with the kernels of an instruction set; -1 is the best.
func openKernels(t testing.TB, kernels int) *Device {
	t.Helper()
	d, err := Open(Options{Lanes: 2, ISA: *isa})
	if err != nil {
		t.Fatal(err)
	}
	if kernels >= 0 {
		d.isa = kernels
	}
	return d
}

func TestDevice(t *testing.T) { devicetest.Run(t, open) }

func BenchmarkDevice(b *testing.B) { devicetest.Bench(b, open) }

// The kernels are compiled several times; what the processor can run of them must agree.
func TestKernelsAgree(t *testing.T) {
	bits := func(kernels int) map[string][]uint64 {
		d := openKernels(t, kernels)
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		return devicetest.Bits(t, d)
	}
	best, err := limitISA("")
	if err != nil {
		t.Fatal(err)
	}
	plain := bits(0)
	for kernels := 1; kernels <= best; kernels++ {
		got := bits(kernels)
		for _, name := range slices.Sorted(maps.Keys(plain)) {
			if !slices.Equal(got[name], plain[name]) {
				t.Errorf("%s: instruction set %d gives other bits than plain C", name, kernels)
			}
		}
	}
}

// primitives is a device whose products of float32 take the way of native bfloat16, which few processors have.
type primitives struct{ *Device }

func (d primitives) NewLane(beat *atomic.Uint64) (device.Lane, error) {
	l, err := d.Device.NewLane(beat)
	if err == nil {
		l.(*lane).takePrimitives()
	}
	return l, err
}

func TestPrimitives(t *testing.T) {
	devicetest.Run(t, func(t testing.TB) device.Device { return primitives{openKernels(t, -1)} })
}

func TestOpen(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Lanes: -1}, "lanes is -1"},
		{Options{ISA: "mmx"}, `isa is "mmx": want empty or one of sse41, avx, avx2`},
	} {
		if _, err := Open(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Open(%+v): %v, want %q", test.o, err, test.want)
		}
	}
	d, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Name() != "cpu" || d.Lanes() < 1 || len(strings.Split(d.Class(), "/")) != 5 || !strings.HasPrefix(d.Class(), "cpu/") {
		t.Errorf("device %q of class %q with %d lanes", d.Name(), d.Class(), d.Lanes())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Malloc(1); err == nil {
		t.Error("a closed device allocates")
	}
	if _, err := d.NewLane(nil); err == nil {
		t.Error("a closed device opens a lane")
	}
}

// An index is data; on the host it can be checked before memory is touched.
func TestIndexOutOfRange(t *testing.T) {
	d := open(t).(*Device)
	for _, index := range [][]int32{{0, 4}, {-1, 0}} {
		for name, run := range map[string]func(l device.Lane, m, table device.Mat, at device.I32){
			"Gather":     func(l device.Lane, m, table device.Mat, at device.I32) { l.Gather(m, table, at) },
			"GatherAdd":  func(l device.Lane, m, table device.Mat, at device.I32) { l.GatherAdd(m, table, at) },
			"ScatterAdd": func(l device.Lane, m, table device.Mat, at device.I32) { l.ScatterAdd(table, m, at) },
		} {
			l, err := d.NewLane(nil)
			if err != nil {
				t.Fatal(err)
			}
			floats, err1 := device.Alloc[float32](d, 6*3)
			at, err2 := device.Alloc[int32](d, 2)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			device.Upload(l, at, index)
			run(l, device.Matrix(floats, 2, 3), device.Matrix(floats.Slice(6, 18), 4, 3), at)
			if err := l.Sync(); err == nil || !strings.Contains(err.Error(), "run "+name+" on cpu: an index") {
				t.Errorf("%s by %v: %v", name, index, err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestUsed(t *testing.T) {
	d := open(t).(*Device)
	a, err := d.Malloc(100)
	if err != nil {
		t.Fatal(err)
	}
	if d.Used() != 100 {
		t.Errorf("%d bytes are used, want 100", d.Used())
	}
	d.Free(a)
	d.Free(a) // passed over
	if d.Used() != 0 {
		t.Errorf("%d bytes are used, want 0", d.Used())
	}
	if _, err := d.Malloc(1 << 60); err == nil || !strings.Contains(err.Error(), "asked for 1099511627776.0 MiB, free are") {
		t.Errorf("an impossible allocation: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
