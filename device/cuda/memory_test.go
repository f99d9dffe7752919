//go:build cuda

package cuda

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// TestPeak: what was allocated at a time counts, and the scratch of lanes does.
func TestPeak(t *testing.T) {
	d := open(t).(*gpu)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	a, err1 := d.Malloc(1000)
	_, err2 := d.Malloc(500)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	d.Free(a)
	d.Free(a) // passed over
	if _, err := d.Malloc(100); err != nil {
		t.Fatal(err)
	}
	if d.Peak() != 1500 || d.used.Load() != 600 {
		t.Errorf("peak %d, used %d: want 1500 and 600", d.Peak(), d.used.Load())
	}
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	before := d.used.Load()
	const n = 4096
	x, err := device.Alloc[float32](d, n)
	if err != nil {
		t.Fatal(err)
	}
	l.SquaredNorm(x)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if used := d.used.Load(); used != 600+4*n {
		t.Errorf("%d bytes are used after the lane is closed, want %d", used, 600+4*n)
	}
	if d.Peak() <= int(before)+4*n {
		t.Errorf("peak %d: want more than %d, for SquaredNorm's scratch", d.Peak(), int(before)+4*n)
	}
}
