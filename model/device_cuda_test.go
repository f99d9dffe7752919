//go:build cuda

package model

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cuda"
)

// openDevice opens the first GPU, for the same tests and tolerances as on the CPU. `make test-cuda` runs the golden ones on the emulated device.
func openDevice(t testing.TB) device.Device {
	t.Helper()
	dev, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}
