//go:build cuda

package cuda

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/devicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB) device.Device { return openWith(t, Options{}) }

func openWith(t testing.TB, o Options) device.Device {
	t.Helper()
	o.Lanes = 2
	d, err := Open(0, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDevice multiplies with cuBLASLt if that can be opened; make test-cuda sees to it.
func TestDevice(t *testing.T) { devicetest.Run(t, open) }

func TestOwnProducts(t *testing.T) {
	devicetest.Run(t, func(t testing.TB) device.Device { return openWith(t, Options{OwnProducts: true}) })
}
