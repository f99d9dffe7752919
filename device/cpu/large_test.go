package cpu

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A copy that several threads make is whole, whatever its length and its place are multiples of.
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
		want := make([]float32, n)
		for i := range want {
			want[i] = float32(i) + 1
		}
		device.Upload(lane, x, want)
		for at := range 3 {
			have := make([]float32, n+3)
			device.Download(lane, have[at:at+n], x)
			if err := lane.Sync(); err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				if have[at+i] != w {
					t.Fatalf("%d elements from %d on: element %d is %g, want %g", n, at, i, have[at+i], w)
				}
			}
			for i, around := range have {
				if (i < at || i >= at+n) && around != 0 {
					t.Errorf("%d elements from %d on: element %d, which is none of them, was written to", n, at, i)
				}
			}
		}
		dev.Free(x.Addr)
	}
}
