package timed_test

import (
	"reflect"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/device/devicetest"
	"github.com/ringleader-dev/ringleader/device/timed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, notes timed.Notes) *timed.Device {
	t.Helper()
	d, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := timed.Wrap(d)
	w.Record(notes)
	return w
}

// TestForwards: the conformance suite, with notes and without; and every operator is noted under its own name.
func TestForwards(t *testing.T) {
	devicetest.Run(t, func(t testing.TB) device.Device { return open(t, timed.Nothing) })

	d := open(t, timed.Costs)
	t.Run("recording", func(t *testing.T) { devicetest.Bits(t, d) })
	noted := map[string]bool{}
	for _, c := range d.Costs() {
		noted[c.Operator] = c.Calls > 0 && c.CPU > 0
	}
	for m := range reflect.TypeFor[device.Lane]().Methods() {
		if wanted := m.Name != "Sync" && m.Name != "Close"; noted[m.Name] != wanted {
			t.Errorf("%s is noted: %v, want %v", m.Name, noted[m.Name], wanted)
		}
	}
	if p := d.Products(); len(p) > 0 {
		t.Errorf("%d lanes have products, want none", len(p))
	}
	before := len(d.Costs())
	d.Record(timed.Products)
	t.Run("products", func(t *testing.T) { devicetest.Bits(t, d) })
	if p := d.Products(); len(p) != 1 || len(p[0]) < 100 || len(d.Costs()) != before {
		t.Errorf("products of %d lanes, costs of %d operators after those of %d: want one lane's and no more costs", len(p), len(d.Costs()), before)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestSilent: what is not to be recorded is not.
func TestSilent(t *testing.T) {
	d := open(t, timed.Nothing)
	devicetest.Bits(t, d)
	if c, p := d.Costs(), d.Products(); len(c) > 0 || len(p) > 0 {
		t.Errorf("noted %v and %v, want nothing", c, p)
	}
}
