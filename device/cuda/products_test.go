//go:build cuda

package cuda

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/cu"

	"github.com/ringleader-dev/ringleader/device"
)

// withLibrary is a device that multiplies with cuBLASLt. On the emulated device that must be there.
func withLibrary(t *testing.T) *gpu {
	t.Helper()
	d := open(t).(*gpu)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if d.library == nil {
		if os.Getenv("RINGLEADER_PLANTED") != "" {
			t.Fatalf("make test-cuda has a cuBLASLt, but products are by %s", d.products)
		}
		t.Skip(d.products)
	}
	return d
}

// multiplied is what a lane makes of products in both precisions, of the rows of a matrix with one another, some times.
// between is called between the times.
func multiplied(t *testing.T, d device.Device, again int, between func(l *lane)) (sums []float32) {
	t.Helper()
	const rows, inner = 40, 100
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	buf, err := device.Alloc[float32](d, rows*inner+rows*rows)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, rows*inner)
	for i := range x {
		x[i] = float32(i*i%977) / 7
	}
	device.Upload(l, buf, x)
	a, c := device.Matrix(buf, rows, inner), device.Matrix(buf.Slice(rows*inner, buf.N), rows, rows)
	for i := range again {
		for _, precision := range []device.Precision{device.Float32, device.BFloat16} {
			l.SetPrecision(precision)
			l.MatMul(c, 1, a, false, a, true, 0)
			got := make([]float32, rows*rows)
			device.Download(l, got, c.Data)
			sums = append(sums, got...)
		}
		if between != nil && i < again-1 {
			between(l.(*lane))
		}
	}
	if err := errors.Join(l.Sync(), l.Close()); err != nil {
		t.Fatal(err)
	}
	d.Free(buf.Addr)
	return sums
}

// Products of cuBLASLt have other bits, which the class tells.
func TestClass(t *testing.T) {
	with := withLibrary(t)
	without := openWith(t, Options{OwnProducts: true})
	defer without.Close()
	if prefix := without.Class() + "/cublaslt-"; !strings.HasPrefix(with.Class(), prefix) || !strings.HasSuffix(with.Class(), "sm") {
		t.Errorf("with cuBLASLt the class is %s: want it to begin with %s and to end with the number of multiprocessors", with.Class(), prefix)
	}
	if slices.Equal(multiplied(t, with, 1, nil), multiplied(t, without, 1, nil)) {
		t.Error("products of cuBLASLt are those of gemm.cu: then this test shows nothing")
	}
	if with, without := Products(with), Products(without); !strings.HasPrefix(with, "cuBLASLt ") || strings.Contains(without, "cuBLASLt ") {
		t.Errorf("products are by %q and %q", with, without)
	}
}

// A lane that forgot its plans makes the same ones, and after the first time nothing is allocated.
func TestPlans(t *testing.T) {
	d := withLibrary(t)
	const times = 3
	var free []int64
	got := multiplied(t, d, times, func(l *lane) {
		if len(l.plans) != 2 {
			t.Errorf("%d plans for two products", len(l.plans))
		}
		if err := d.within(func() error {
			l.dropPlans()
			n, _, err := cu.MemInfo()
			free = append(free, n)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	if n := len(got) / times; !slices.Equal(got[:n], got[n:2*n]) || !slices.Equal(got[:n], got[2*n:]) {
		t.Error("products change when plans were forgotten")
	}
	if free[0] != free[1] {
		t.Errorf("free memory went from %d to %d bytes", free[0], free[1])
	}
}

// Nothing of a product waits for the host.
func TestLateProducts(t *testing.T) {
	var now []float32
	t.Run("now", func(t *testing.T) { now = multiplied(t, withLibrary(t), 2, nil) })
	t.Setenv("RINGLEADER_EMULATION", "work=late") // is read with the device's first opening
	t.Run("late", func(t *testing.T) {
		if !slices.Equal(multiplied(t, withLibrary(t), 2, nil), now) {
			t.Error("products depend on when the stream does its work")
		}
	})
}

// The emulated library looks where a product reads and writes, as it looks after kernels.
func TestProductBeyond(t *testing.T) {
	if os.Getenv("RINGLEADER_PLANTED") == "" {
		t.Skip("RINGLEADER_PLANTED is not set: only the emulated device finds every access beyond its memory")
	}
	for name, beyond := range map[string]int{"a": 0, "b": 1, "c": 2} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			defer d.Close() // the device is lost
			l, err := d.NewLane(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var m [3]device.Mat
			for i := range m {
				buf, err := device.Alloc[float32](d, 64*64)
				if err != nil {
					t.Fatal(err)
				}
				m[i] = device.Matrix(buf, 64, 64)
			}
			m[beyond].Data.Addr += 4
			l.MatMul(m[2], 1, m[0], false, m[1], false, 0)
			if err := l.Sync(); !errors.Is(err, cu.IllegalAddress) && (err == nil || !strings.Contains(err.Error(), "EXECUTION_FAILED")) {
				t.Errorf("a matrix reaches 4 bytes too far, and the lane's error is %v", err)
			}
		})
	}
}

// A device that is lost in a product is lost as in a kernel.
func TestLostInProduct(t *testing.T) {
	if os.Getenv("RINGLEADER_PLANTED") == "" {
		t.Skip("RINGLEADER_PLANTED is not set: only the emulated device fails when it is told to")
	}
	t.Setenv("RINGLEADER_EMULATION", "fail=1")
	d := open(t)
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	buf, err := device.Alloc[float32](d, 64)
	if err != nil {
		t.Fatal(err)
	}
	m := device.Matrix(buf, 8, 8)
	l.MatMul(m, 1, m, false, m, false, 0)
	if err := l.Sync(); err == nil || !strings.Contains(err.Error(), "EXECUTION_FAILED") || !strings.Contains(err.Error(), "the device is lost") {
		t.Errorf("the lane's error is %v", err)
	}
	_ = l.Close() // of a lost device nothing is to be expected
	_ = d.Close()
}
