package allreduce_test

import (
	"fmt"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
)

// BenchmarkSum times a sum of 64 MiB by n members in this process; bytes are a member's.
func BenchmarkSum(b *testing.B) {
	for _, n := range []int{2, 3, 4} {
		for _, chunk := range []int{128 << 10, 256 << 10, 512 << 10, 1 << 20} {
			w := newGRPCNet(b, n)
			change := func(c *allreduce.Config) { c.ChunkBytes = chunk }
			for name, ring := range map[string]func() *ring{
				"mem":  func() *ring { return memRing(b, n, change) },
				"grpc": func() *ring { return w.ring(b, n, change) },
			} {
				b.Run(fmt.Sprintf("%s/members=%d/chunk=%dKiB", name, n, chunk>>10), func(b *testing.B) {
					rg := ring()
					data := make([][]int64, n)
					for r := range data {
						data[r] = make([]int64, 8<<20)
					}
					b.SetBytes(64 << 20)
					step := ringleader.Step(0)
					for b.Loop() {
						step++
						noErrors(b, rg.each(func(r int, g *allreduce.Group) error { return g.SumInt64(b.Context(), step, 0, data[r]) }))
					}
				})
			}
		}
	}
}
