package fates

import (
	"errors"
	"math"
	"sync/atomic"

	seam "github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
)

// device is the CPU, with troubles that a test asks for.
type device struct {
	seam.Device
	class string // instead of the CPU's, if set

	poison  atomic.Bool // the next gradient has a NaN
	corrupt atomic.Bool // the next state digest is wrong
	broken  atomic.Bool // all that is still asked of it fails

	breakAt     atomic.Int64 // it breaks at so many conversions to blocks; 0: at none
	conversions atomic.Int64 // to blocks
}

func (c *cluster) device() *device {
	c.Helper()
	dev, err := cpu.Open(cpu.Options{Lanes: 1})
	if err != nil {
		c.Fatal(err)
	}
	d := &device{Device: dev}
	c.devices = append(c.devices, d)
	return d
}

func (d *device) Class() string {
	if d.class != "" {
		return d.class
	}
	return d.Device.Class()
}

func (d *device) NewLane(beat *atomic.Uint64) (seam.Lane, error) {
	l, err := d.Device.NewLane(beat)
	return &lane{l, d}, err
}

type lane struct {
	seam.Lane
	d *device
}

var errBroken = errors.New("the device is broken")

func (l *lane) Sync() error {
	if err := l.Lane.Sync(); err != nil {
		return err
	}
	if l.d.broken.Load() {
		return errBroken
	}
	return nil
}

func (l *lane) ToFixed(acc seam.I64, x seam.F32, limit float32, bad seam.I64) {
	if l.d.poison.CompareAndSwap(true, false) {
		seam.Upload(l, x.Slice(0, 1), []float32{float32(math.NaN())})
	}
	l.Lane.ToFixed(acc, x, limit, bad)
}

func (l *lane) ToBlocks32(acc seam.I32, x seam.F32, exponents seam.I8, fraction int, bad seam.I64) {
	l.d.converts()
	l.Lane.ToBlocks32(acc, x, exponents, fraction, bad)
}

func (l *lane) ToBlocks16(acc seam.I16, x seam.F32, exponents seam.I8, fraction int, bad seam.I64) {
	l.d.converts()
	l.Lane.ToBlocks16(acc, x, exponents, fraction, bad)
}

func (d *device) converts() {
	if d.conversions.Add(1) == d.breakAt.Load() {
		d.broken.Store(true)
	}
}

func (l *lane) Hash(x seam.F32, first uint64) uint64 {
	h := l.Lane.Hash(x, first)
	if l.d.corrupt.CompareAndSwap(true, false) {
		h++
	}
	return h
}
