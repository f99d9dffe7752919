//go:build !cuda

package model

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
)

// openDevice opens what the tests compute on. In a build with CUDA that is a GPU: see device_cuda_test.go.
func openDevice(t testing.TB) device.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{Lanes: 1})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}
