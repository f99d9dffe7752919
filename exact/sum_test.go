package exact_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ringleader-dev/ringleader/exact"
)

// sumBig is the definition: the sum without a limit, and then its lower 64 bits.
func sumBig[W exact.Word | int64](data []W) int64 {
	sum := new(big.Int)
	for _, v := range data {
		sum.Add(sum, big.NewInt(int64(v)))
	}
	sum.And(sum, new(big.Int).SetUint64(math.MaxUint64))
	return int64(sum.Uint64())
}

func testSum[W exact.Word | int64](t *testing.T, least, most W, random func(*rand.Rand) W) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 15, 31, 32, 33, 64, 1000, 1<<17 + 40} {
		for name, value := range map[string]func(i int) W{
			"least":  func(int) W { return least },
			"most":   func(int) W { return most },
			"both":   func(i int) W { return []W{least, most}[i%2] },
			"random": func(int) W { return random(rng) },
		} {
			all := make([]W, n+3)
			for i := range all {
				all[i] = value(i)
			}
			for shift := range 4 { // addresses of every alignment
				data := all[shift : shift+n]
				if got, want := exact.SumInt64(data), sumBig(data); got != want {
					t.Errorf("%T, %d elements from %d on, %s: %d, want %d", least, len(data), shift, name, got, want)
				}
			}
		}
	}
}

func TestSumInt64(t *testing.T) {
	testSum(t, math.MinInt16, math.MaxInt16, func(r *rand.Rand) int16 { return int16(r.Uint32()) })
	testSum(t, math.MinInt32, math.MaxInt32, func(r *rand.Rand) int32 { return int32(r.Uint32()) })
	testSum(t, math.MinInt64, math.MaxInt64, func(r *rand.Rand) int64 { return int64(r.Uint64()) })
}

func BenchmarkSumInt64(b *testing.B) {
	benchmarkSum[int16](b)
	benchmarkSum[int32](b)
	benchmarkSum[int64](b)
}

func benchmarkSum[W exact.Word | int64](b *testing.B) {
	data := make([]W, 1<<16)
	b.Run(fmt.Sprintf("%T", data[0]), func(b *testing.B) {
		b.SetBytes(int64(len(data))) // elements, really
		for b.Loop() {
			exact.SumInt64(data)
		}
	})
}
