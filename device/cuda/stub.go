//go:build !cuda

package cuda

import (
	"errors"

	"github.com/ringleader-dev/ringleader/device"
)

// errBuild is what a build without this backend says.
var errBuild = errors.New("this build computes on the CPU only: bin/ringleader-cuda, which `make cuda` builds, computes on GPUs")

// Open fails: the backend is not in this build.
func Open(int, Options) (device.Device, error) { return nil, errBuild }

// List fails: the backend is not in this build.
func List() ([]Info, error) { return nil, errBuild }

// Products is empty: no device is of this backend.
func Products(device.Device) string { return "" }
