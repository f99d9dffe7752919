//go:build cuda

package cuda

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/devicetest"
)

func open(t testing.TB) device.Device {
	t.Helper()
	d, err := Open(0, Options{Lanes: 2})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDevice(t *testing.T) { devicetest.Run(t, open) }
