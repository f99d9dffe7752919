//go:build cuda

package cuda

import (
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/device/devicetest"
)

// TestOrders: whatever order blocks and threads run in, all operators give the same bits: what a barrier is missing in front of would not. Only an emulated device can be told
// an order; a GPU has its own, and this shows that its bits repeat.
func TestOrders(t *testing.T) {
	var want map[string][]uint64
	for _, order := range []string{"", "blocks=reversed", "threads=reversed", "blocks=reversed,threads=reversed"} {
		t.Run("order "+order, func(t *testing.T) {
			t.Setenv("RINGLEADER_EMULATION", order)
			d := open(t)
			t.Cleanup(func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
			got := devicetest.Bits(t, d)
			if want == nil {
				want = got
			}
			for name, bits := range want {
				if !slices.Equal(got[name], bits) {
					t.Errorf("%s has other bits than in the order of numbers", name)
				}
			}
		})
	}
}
