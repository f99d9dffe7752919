package cpu

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A copy that several threads make is whole, whatever its length is a multiple of.
func TestLargeDownload(t *testing.T) {
	dev, err := Open(Options{Lanes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	lane, err := dev.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lane.Close()
	for _, n := range []int{largeCopy / 4, largeCopy/4 + 1, largeCopy/4 + 15, largeCopy + 33} {
		x, err := device.Alloc[float32](dev, n)
		if err != nil {
			t.Fatal(err)
		}
		want, have := make([]float32, n), make([]float32, n+1)
		for i := range want {
			want[i] = float32(i)
		}
		device.Upload(lane, x, want)
		device.Download(lane, have[:n], x)
		if err := lane.Sync(); err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if have[i] != w {
				t.Fatalf("%d elements: element %d is %g, want %g", n, i, have[i], w)
			}
		}
		if have[n] != 0 {
			t.Errorf("%d elements: what follows was written to", n)
		}
		dev.Free(x.Addr)
	}
}
