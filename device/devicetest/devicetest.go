// Package devicetest is the conformance suite of device.Device. An implementation's test calls Run:
//
//	func TestDevice(t *testing.T) {
//		devicetest.Run(t, func(t testing.TB) device.Device { ... })
//	}
//
// Values are compared with straightforward float64 definitions, gradients with finite differences of them, and what must be exact with
// the definitions of package exact, bit for bit. Then everything runs again elsewhere (another lane, other addresses, beside a busy
// lane) and must give the same bits.
package devicetest

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// Tolerance is how far a float32 result may be from its float64 definition, as max|difference| / max|definition| over a buffer.
const Tolerance = 1e-5

// scenario runs operators on fixed shapes and random but fixed numbers, and checks what they give.
type scenario struct {
	name string
	run  func(e *env)
}

func scenarios() []scenario {
	return []scenario{
		{"Transfer", transfer},
		{"MatMul", matMul},
		{"Linear", linear},
		{"LinearLarge", linearLarge},
		{"Add", add},
		{"LinearGELU", linearGELU},
		{"GELURange", geluRange},
		{"LinearAdd", linearAdd},
		{"LinearSlope", linearSlope},
		{"LayerNorm", layerNorm},
		{"L2Norm", l2Norm},
		{"Dropout", dropout},
		{"BFloat16", bfloat16},
		{"BFloat16Rounding", bfloat16Rounding},
		{"Gather", gather},
		{"ScatterAdd", scatterAdd},
		{"EncodeTime", encodeTime},
		{"Attention", attention},
		{"AttentionLong", attentionLong},
		{"DenseAllAction", denseAllAction},
		{"DenseAllActionLarge", denseAllActionLarge},
		{"DenseAllActionMasked", denseAllActionMasked},
		{"DenseAllActionEmpty", denseAllActionEmpty},
		{"DenseAllActionFrozen", denseAllActionFrozen},
		{"Fixed", fixed},
		{"Blocks", blocks},
		{"SquaredNorm", squaredNorm},
		{"Hash", hash},
		{"AdamW", adamW},
		{"NaN", nan},
	}
}

// Run checks a device. open is called for a few devices, each of which is closed again.
func Run(t *testing.T, open func(t testing.TB) device.Device) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			s.run(newEnv(t, openDevice(t, open), place{}))
		})
	}
	t.Run("Repeatable", func(t *testing.T) { repeatable(t, open) })
	t.Run("Misuse", func(t *testing.T) { misuse(t, open) })
	t.Run("Memory", func(t *testing.T) { memory(t, open) })
	t.Run("Hosted", func(t *testing.T) { hosted(t, open) })
	t.Run("Lanes", func(t *testing.T) { lanes(t, open) })
}

// openDevice opens a device that is closed with the test.
func openDevice(t testing.TB, open func(t testing.TB) device.Device) device.Device {
	t.Helper()
	d := open(t)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close device: %v", err)
		}
	})
	return d
}

// openLane opens a lane that is closed with the test.
func openLane(t testing.TB, d device.Device) device.Lane {
	t.Helper()
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lane: %v", err)
		}
	})
	return l
}
