//go:build cuda

package cuda

import "testing"

// TestPeak: what was in use at a time counts, scratch of lanes too, though it was freed since. A driver rounds sizes up.
func TestPeak(t *testing.T) {
	const mib, slack = 1 << 20, 6 << 20
	d := open(t).(*gpu)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	want := func(what string, bytes int) {
		t.Helper()
		if d.Peak() < bytes || d.Peak() > bytes+slack {
			t.Errorf("%s: peak %d, want %d or little more", what, d.Peak(), bytes)
		}
	}
	want("nothing", 0)
	a, err := d.Malloc(64 * mib)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.NewLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	want("64 MiB", 64*mib)
	l.(*lane).begin("test").reserve(16 * mib) // half as much again
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	want("64 MiB and scratch", 88*mib)
	d.Free(a)
	if _, err := d.Malloc(mib); err != nil {
		t.Fatal(err)
	}
	want("less than before", 88*mib)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
