//go:build cuda

package planted

import (
	"slices"
	"testing"
)

// orders are the ways in which blocks and threads may come.
var orders = []string{"work=late", "blocks=reversed", "threads=reversed,work=late", "blocks=reversed,threads=reversed"}

// numbers are n different numbers whose sum depends on the order.
func numbers(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i*i%977) / 7
	}
	return x
}

func TestScale(t *testing.T) {
	for _, order := range orders {
		t.Run(order, func(t *testing.T) {
			g := open(t, order)
			x := numbers(1000)
			dx, dy := g.upload(x), g.malloc(4*len(x))
			must(t, g.launch("scale", 4, 256, 0, dy, dx, float32(3), int32(len(x))))
			for i, y := range g.download(dy, len(x)) {
				if y != 3*x[i] {
					t.Fatalf("element %d is %v, want %v", i, y, 3*x[i])
				}
			}
			g.free(dx, dy)
			must(t, g.close())
		})
	}
}

// summed is what a kernel makes of 8 x 256 numbers, under one order.
func summed(t *testing.T, kernel, order string, n int) []float32 {
	g := open(t, order)
	x := numbers(8 * 256)
	dx, dy := g.upload(x), g.upload(make([]float32, n))
	must(t, g.launch(kernel, 8, 256, 0, dy, dx))
	y := g.download(dy, n)
	g.free(dx, dy)
	must(t, g.close())
	return y
}

func TestOrders(t *testing.T) {
	for _, c := range []struct {
		kernel    string
		sums      int
		different bool // it has a defect, which some order must show
	}{
		{"sum_tree", 8, false},
		{"sum_warp", 64, false},
		{"sum_unsynchronised", 8, true},
		{"sum_atomic", 1, true},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			first := summed(t, c.kernel, orders[0], c.sums)
			different := slices.ContainsFunc(orders[1:], func(order string) bool {
				return !slices.Equal(summed(t, c.kernel, order, c.sums), first)
			})
			if different != c.different {
				t.Errorf("the bits depend on the order: %v, want %v", different, c.different)
			}
		})
	}
}
