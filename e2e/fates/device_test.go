package fates

import (
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	seam "github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
)

// device is the CPU, with troubles that a test asks for.
type device struct {
	seam.Device
	class string // instead of the CPU's, if set

	poison  atomic.Bool // the next gradient has a NaN
	corrupt atomic.Bool // the next state digest is wrong
	late    atomic.Bool // a moment flips when the next update has begun, after all comparisons
	odd     atomic.Bool // its updates have other bits than those of its class
	broken  atomic.Bool // all that is still asked of it fails

	wrongAt     atomic.Int64 // so many gradients on, a bit of one flips before anything is made of it; 0: in none
	flipAt      atomic.Int64 // so many conversions to fixed point on, a bit of the sum flips; 0: in none
	pause       atomic.Int64 // nanoseconds more for each gradient
	breakAt     atomic.Int64 // it breaks at so many conversions to blocks; 0: at none
	conversions atomic.Int64 // to blocks
	mallocs     atomic.Int64 // so far
	gradients   atomic.Int64 // so far
	mu          sync.Mutex
	hashed      map[uint64]hashed // the state's words, by the index of the first
}

// hashed is a part of the state, and a lane that has access to it.
type hashed struct {
	seam.F32
	by seam.Lane
}

func (c *cluster) device() *device {
	c.Helper()
	dev, err := cpu.Open(cpu.Options{Lanes: 1})
	if err != nil {
		c.Fatal(err)
	}
	d := &device{Device: dev, hashed: map[uint64]hashed{}}
	c.devices = append(c.devices, d)
	return d
}

func (d *device) Class() string {
	if d.class != "" {
		return d.class
	}
	return d.Device.Class()
}

func (d *device) Malloc(bytes int) (uintptr, error) {
	d.mallocs.Add(1)
	return d.Device.Malloc(bytes)
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
	if l.d.flipAt.Add(-1) == 0 {
		var word [1]int64
		seam.Download(l, word[:], acc.Slice(1, 2))
		word[0] ^= 1 << 40
		seam.Upload(l, acc.Slice(1, 2), word[:])
	}
}

func (l *lane) DenseAllAction(out seam.F64, users, items seam.Mat, a *seam.AllAction) {
	l.d.gradients.Add(1)
	l.Lane.DenseAllAction(out, users, items, a)
	if pause := l.d.pause.Load(); pause > 0 {
		<-time.After(time.Duration(pause))
	}
	if l.d.wrongAt.Add(-1) == 0 {
		first := users.Data.Slice(0, 1)
		var x [1]float32
		seam.Download(l, x[:], first)
		seam.Upload(l, first, []float32{math.Float32frombits(math.Float32bits(x[0]) ^ 1<<20)})
	}
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

func (l *lane) FromFixed(x seam.F32, acc seam.I64, divisor float64) {
	if l.d.late.CompareAndSwap(true, false) {
		l.d.flip(true)
	}
	l.Lane.FromFixed(x, acc, divisor)
}

func (l *lane) AdamW(p, m, v, g seam.F32, a seam.AdamW, h seam.Hashes) {
	if l.d.odd.Load() {
		a.LR = math.Nextafter32(a.LR, 1)
	}
	l.Lane.AdamW(p, m, v, g, a, h)
}

func (l *lane) Hash(x seam.F32, first uint64) uint64 {
	l.d.mu.Lock()
	l.d.hashed[first] = hashed{x, l.Lane}
	l.d.mu.Unlock()
	h := l.Lane.Hash(x, first)
	if l.d.corrupt.CompareAndSwap(true, false) {
		h++
	}
	return h
}

// flip flips a bit of a word of the state that is not 0: of the parameters, or of the second moments. The worker waits between two steps.
func (d *device) flip(moment bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	firsts := slices.Sorted(maps.Keys(d.hashed))
	part := d.hashed[firsts[0]]
	if moment {
		part = d.hashed[firsts[len(firsts)-1]]
	}
	words := make([]float32, part.N)
	seam.Download(part.by, words, part.F32)
	at := slices.IndexFunc(words, func(w float32) bool { return w != 0 })
	flipped := math.Float32frombits(math.Float32bits(words[at]) ^ 1<<22)
	seam.Upload(part.by, part.Slice(at, at+1), []float32{flipped})
}
