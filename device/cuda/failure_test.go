//go:build cuda

package cuda

import (
	"errors"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// ordered opens a device that fails as the order says, which only the emulated one obeys: it reads it when its context is made.
func ordered(t *testing.T, order string) device.Device {
	t.Helper()
	if all, err := List(); err != nil || all[0].Model != "Emulated GPU" {
		t.Skipf("only the emulated device fails when it is told to; here are %v, %v", all, err)
	}
	t.Setenv("RINGLEADER_EMULATION", order)
	return open(t)
}

// Too little memory is told in figures, and what is freed can be had again.
func TestOutOfMemory(t *testing.T) {
	d := ordered(t, "memory=8")
	const mib = 1 << 20
	first, err := d.Malloc(6 * mib)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Malloc(3 * mib)
	if want := "allocate on cuda:0: asked for 3.0 MiB, free are 2.0 of 8.0 MiB"; err == nil || err.Error() != want || !errors.As(err, new(*device.OutOfMemory)) {
		t.Errorf("3 MiB with 2 free: %v, want %q", err, want)
	}
	d.Free(first)
	if _, err = d.Malloc(3 * mib); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A lane's own memory runs out like any other, and its error stays.
func TestScratchOutOfMemory(t *testing.T) {
	d := ordered(t, "memory=8")
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	x, err := device.Alloc[float32](d, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := d.Malloc(4<<20 - 4096)
	if err != nil {
		t.Fatal(err)
	}
	if norm := l.SquaredNorm(x); norm != 0 {
		t.Errorf("a norm without the memory for it is %v", norm)
	}
	var full *device.OutOfMemory
	if err := l.Sync(); !errors.As(err, &full) || !strings.HasPrefix(err.Error(), "run SquaredNorm on cuda:0: scratch memory: ") {
		t.Errorf("the lane's error is %v", err)
	}
	d.Free(rest)
	if err := errors.Join(l.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// A device that is lost says so at every turn, except to whoever puts it away.
func TestLost(t *testing.T) {
	d := ordered(t, "fail=3")
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	x, err := device.Alloc[float32](d, 8)
	if err != nil {
		t.Fatal(err)
	}
	m := device.Matrix(x, 2, 4)
	for i := range 4 {
		l.Add(m, m, m)
		if err := l.Sync(); (err != nil) != (i >= 2) {
			t.Errorf("after %d operators: %v", i+1, err)
		}
	}
	if err := l.Sync(); err == nil || !strings.HasPrefix(err.Error(), "run Add on cuda:0: launch add of 2 x 1 blocks: the driver says ") || !strings.Contains(err.Error(), "the device is lost to this process") {
		t.Errorf("the lane's error is %v", err)
	}
	if _, err := d.Malloc(8); err == nil {
		t.Error("it still has memory to give")
	}
	if err := errors.Join(l.Close(), d.Close()); err != nil {
		t.Errorf("putting it away: %v", err)
	}
}
