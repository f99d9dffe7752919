package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// TestFromBlocksEverywhere: all exponents, and divisors on both sides of where floats do, on all instruction sets, for vectors that are written past the caches and for
// those that are not.
func TestFromBlocksEverywhere(t *testing.T) {
	for kernels := range openKernels(t, -1).isa + 1 {
		fromEverywhere(t, openKernels(t, kernels), 16, device.Lane.FromBlocks16)
		fromEverywhere(t, openKernels(t, kernels), 32, device.Lane.FromBlocks32)
	}
}

func fromEverywhere[W interface {
	exact.Word
	device.Number
}](t *testing.T, d *Device, bits int, from func(device.Lane, device.F32, device.Buf[W], device.I8, int, float64)) {
	const exponentsThereAre = exact.MaxExponent - exact.MinExponent + 1
	const blocks = 6 * exponentsThereAre
	const n = blocks*exact.BlockElements - 7
	rng := rand.New(rand.NewPCG(5, 6))
	words, exponents := make([]W, n), make([]int8, blocks)
	most := int64(1)<<(bits-1) - 1
	for i := range words {
		words[i] = W(rng.Uint32()) >> rng.IntN(bits)
	}
	for b := range exponents {
		exponents[b] = int8(exact.MinExponent + b%exponentsThereAre)
		copy(words[b*exact.BlockElements:], []W{W(most), W(-most - 1), W(most - 1), 0, 1, -1})
	}
	defer d.Close()
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	room, acc, e := alloc[float32](t, d, n+1), alloc[W](t, d, n), alloc[int8](t, d, blocks)
	device.Upload(l, acc, words)
	device.Upload(l, e, exponents)
	got, want := make([]float32, n), make([]float32, n)
	for _, fraction := range []int{0, 7, bits - 1} {
		for k, divisor := range []float64{1, 2, 3, 64, 1531, 1 << 40, 0x1p-20} {
			x := room.Slice(k%2, k%2+n) // only what begins at a multiple of 16 bytes can be written past the caches
			from(l, x, acc, e, fraction, divisor)
			device.Download(l, got, x)
			exact.FromBlocks(want, words, exponents, fraction, divisor)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("word %d of %d bits, exponent %d, fraction %d, divisor %g: %g, want %g", words[i], bits, exponents[i/exact.BlockElements], fraction, divisor, got[i], want[i])
				}
			}
		}
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
}

func alloc[T device.Number](t *testing.T, d device.Device, n int) device.Buf[T] {
	b, err := device.Alloc[T](d, n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
