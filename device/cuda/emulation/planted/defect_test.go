//go:build cuda

package planted

import (
	"math"
	"slices"
	"testing"

	"gorgonia.org/cu"
)

// A kernel with a defect ends with an error, and breaks its context, as on a GPU.
func TestDefects(t *testing.T) {
	for _, c := range []struct {
		kernel         string
		blocks, shared int
		threads        int
		scales         bool // takes x and a factor too
	}{
		{"scale_beyond", 4, 0, 256, true}, // 64 elements too many
		{"wait_apart", 1, 0, 64, false},
		{"read_shared_beyond", 1, 128, 32, false},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			g := open(t, "")
			x := numbers(960)
			dx, dy := g.upload(x), g.malloc(4*len(x))
			args := []any{dy}
			if c.scales {
				args = append(args, dx, float32(2))
			}
			if err := g.launch(c.kernel, c.blocks, c.threads, c.shared, args...); err != cu.IllegalAddress {
				t.Errorf("launch: %v, want %v", err, cu.IllegalAddress)
			}
			if _, err := cu.MemAlloc(4); err != cu.IllegalAddress {
				t.Errorf("the call after it: %v, want %v", err, cu.IllegalAddress)
			}
			if err := g.close(); err == nil {
				t.Error("close: no error")
			}
		})
	}
}

func TestUseAfterFree(t *testing.T) {
	g := open(t, "")
	x := numbers(256)
	dx, dy := g.upload(x), g.malloc(4*len(x))
	g.free(dx)
	if err := g.launch("scale", 1, 256, 0, dy, dx, float32(2), int32(256)); err != cu.IllegalAddress {
		t.Errorf("launch: %v, want %v", err, cu.IllegalAddress)
	}
	_ = g.close()
}

func TestLeak(t *testing.T) {
	g := open(t, "")
	g.malloc(100)
	if g.close() == nil {
		t.Error("a context with memory in it was destroyed without an error")
	}
}

func TestOutOfMemory(t *testing.T) {
	g := open(t, "memory=1")
	if _, err := cu.MemAlloc(2 << 20); err != cu.OutOfMemory {
		t.Errorf("allocate 2 of 1 MiB: %v, want %v", err, cu.OutOfMemory)
	}
	must(t, g.close())
}

func TestLostDevice(t *testing.T) {
	g := open(t, "fail=2")
	x := numbers(256)
	dx, dy := g.upload(x), g.malloc(1024)
	must(t, g.launch("scale", 1, 256, 0, dy, dx, float32(2), int32(256)))
	for range 2 {
		if err := g.launch("scale", 1, 256, 0, dy, dx, float32(2), int32(256)); err == nil {
			t.Error("launch on a lost device: no error")
		}
	}
	_ = g.close()
}

func TestAsynchronousCopy(t *testing.T) {
	for kernel, waited := range map[string]bool{"copy_waited": true, "copy_unwaited": false} {
		g := open(t, "")
		x := numbers(128)
		dx, dy := g.upload(x), g.upload(make([]float32, 128))
		must(t, g.launch(kernel, 1, 32, 0, dy, dx))
		if same := slices.Equal(g.download(dy, 128), x); same != waited {
			t.Errorf("%s: the copy is there: %v, want %v", kernel, same, waited)
		}
		g.free(dx, dy)
		must(t, g.close())
	}
}

// Tensor cores: small integers have exact products and sums.
func TestProducts(t *testing.T) {
	g := open(t, "threads=reversed")
	a, b := make([]float32, 16*16), make([]float32, 8*16)
	for i := range a {
		a[i] = float32(i*i%13 - 6)
	}
	for i := range b {
		b[i] = float32(i*i%11 - 5)
	}
	da, db, dc, dd := g.upload(a), g.upload(b), g.malloc(512), g.malloc(512)
	must(t, g.launch("products", 1, 32, 0, dc, dd, da, db))
	for inner, got := range map[int][]float32{16: g.download(dc, 128), 8: g.download(dd, 128)} {
		for i, v := range got {
			var want float64
			for k := range inner {
				want += float64(a[i/8*16+k]) * float64(b[i%8*16+k])
			}
			if math.Abs(float64(v)-want) != 0 {
				t.Fatalf("element %d of the product over %d is %v, want %v", i, inner, v, want)
			}
		}
	}
	g.free(da, db, dc, dd)
	must(t, g.close())
}
