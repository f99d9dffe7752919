package timed

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

func flops(list []Product) (sum float64) {
	for _, p := range list {
		sum += p.FLOPs()
	}
	return sum
}

// TestProducts counts by hand.
func TestProducts(t *testing.T) {
	mat := func(rows, cols int) device.Mat {
		return device.Mat{Data: device.F32{Addr: 1}, Rows: rows, Cols: cols, Stride: cols}
	}
	seg := device.Segments{Host: []int32{0, 3, 203}}
	// Two heads of width 4: 3 rows with 3 columns; 128 with 128, and 72 with 200.
	scores := 2. * (3*3 + 128*128 + 72*200)
	a := &device.AllAction{Users: mat(203, 8), Items: mat(50, 8), Pool: 10, Seg: seg, Lo: make([]int32, 203), Hi: make([]int32, 203)}
	for m := 3; m < 203; m++ { // 200 tokens, in runs of 32, each with the one positive of its number
		a.Lo[m], a.Hi[m] = int32(m), int32(m+1)
	}
	pool, bands := 200.*10, 6*32.*32+8*8
	for _, c := range []struct {
		name string
		got  []Product
		want float64
	}{
		{"backward of a linear map", linearBackward(mat(5, 3), mat(7, 3), mat(5, 7), mat(5, 3)), 2 * 2 * 5 * 7 * 3},
		{"without the input's gradient", linearBackward(device.Mat{}, mat(7, 3), mat(5, 7), mat(5, 3)), 2 * 5 * 7 * 3},
		{"attention", attention(mat(203, 24), seg, 2), 2 * 2 * 4 * scores},
		{"its backward", attentionBackward(mat(203, 24), seg, 2), 5 * 2 * 4 * scores},
		{"loss", allAction(mat(50, 8), a), 3 * 2 * 8 * (pool + bands)},
		{"loss of frozen items", allAction(device.Mat{}, a), 2 * 2 * 8 * (pool + bands)},
		{"misuse", append(attention(mat(3, 6), device.Segments{}, 0), allAction(mat(1, 1), nil)...), 0},
	} {
		if got := flops(c.got); got != c.want {
			t.Errorf("%s: %v operations, want %v", c.name, got, c.want)
		}
	}
}
