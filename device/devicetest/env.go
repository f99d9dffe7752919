package devicetest

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// place says how a scenario runs; no result may depend on it.
type place struct {
	shift     int  // elements before each buffer: moves addresses
	unchecked bool // only record what the device gives; the definitions are not computed
}

// env is where a scenario runs.
type env struct {
	testing.TB
	place
	dev   device.Device
	lane  device.Lane
	rng   *rand.Rand
	words []uint64 // bits of everything that was read
	loose float64  // tolerance, if products read less than the definitions do; 0 is Tolerance
}

func newEnv(t testing.TB, d device.Device, p place) *env {
	t.Helper()
	return &env{TB: t, place: p, dev: d, lane: openLane(t, d), rng: rand.New(rand.NewPCG(1, 2))}
}

// guard surrounds what belongs to a buffer: an operator that writes there is out of bounds.
const guard = 0x7FC0DEAD // also a NaN: an operator that reads there shows

const guardWords = 16

// buf puts x on the device. There are guard words before and after it.
func buf[T device.Number](e *env, x []T) device.Buf[T] {
	e.Helper()
	all, err := device.Alloc[T](e.dev, e.shift+len(x)+4*guardWords) // elements may be bytes
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { e.dev.Free(all.Addr) })
	device.Upload(e.lane, all.Slice(e.shift, e.shift+len(x)), x)
	after := device.F32{Addr: all.Slice(e.shift+len(x), all.N).Addr, N: guardWords}
	device.Upload(e.lane, after, guards(guardWords))
	e.Cleanup(func() {
		got := make([]float32, guardWords)
		device.Download(e.lane, got, after)
		for i, g := range got {
			if math.Float32bits(g) != guard && e.lane.Sync() == nil {
				e.Errorf("an operator wrote %d words behind a buffer of %d elements", i, len(x))
			}
		}
	})
	return all.Slice(e.shift, e.shift+len(x))
}

func guards(n int) []float32 {
	g := make([]float32, n)
	for i := range g {
		g[i] = math.Float32frombits(guard)
	}
	return g
}

// read downloads b, and fails the test if the lane has failed.
func read[T device.Number](e *env, b device.Buf[T]) []T {
	e.Helper()
	x := make([]T, b.N)
	device.Download(e.lane, x, b)
	if err := e.lane.Sync(); err != nil {
		e.Fatal(err)
	}
	for _, v := range x {
		e.words = append(e.words, recorded(v))
	}
	return x
}

// recorded is v's bits, where all NaN are one: IEEE leaves open which of two operands' bits a NaN inherits.
func recorded[T device.Number](v T) uint64 {
	if v != v {
		return math.MaxUint64
	}
	return bitsOf(v)
}

func bitsOf[T device.Number](v T) uint64 {
	switch v := any(v).(type) {
	case float32:
		return uint64(math.Float32bits(v))
	case float64:
		return math.Float64bits(v)
	case int8:
		return uint64(uint8(v))
	case int16:
		return uint64(uint16(v))
	case int32:
		return uint64(uint32(v))
	case int64:
		return uint64(v)
	case uint32:
		return uint64(v)
	}
	return any(v).(uint64)
}

// grid is a host matrix.
type grid struct {
	rows, cols int
	v          []float32
}

// mat puts g on the device with gaps of guards between rows.
func (e *env) mat(g grid, gap int) device.Mat {
	e.Helper()
	stride := g.cols + gap
	x := guards(g.rows * stride)
	for r := range g.rows {
		copy(x[r*stride:], g.v[r*g.cols:(r+1)*g.cols])
	}
	return device.Mat{Data: buf(e, x), Rows: g.rows, Cols: g.cols, Stride: stride}
}

// get downloads m and checks its gaps.
func (e *env) get(m device.Mat) []float32 {
	e.Helper()
	var out []float32
	for i, v := range read(e, m.Data) {
		switch {
		case i%m.Stride < m.Cols:
			out = append(out, v)
		case math.Float32bits(v) != guard:
			e.Fatalf("element %d, between the rows of a matrix of stride %d, was overwritten", i, m.Stride)
		}
	}
	return out
}

// normal is a grid of normal numbers.
func (e *env) normal(rows, cols int) grid { return grid{rows, cols, e.floats(rows*cols, 1)} }

// unit is a grid of rows of length 1.
func (e *env) unit(rows, cols int) grid {
	g := e.normal(rows, cols)
	for r := range rows {
		x := g.v[r*cols : (r+1)*cols]
		norm := math.Sqrt(dot(wide(x), wide(x)))
		for i := range x {
			x[i] = float32(float64(x[i]) / norm)
		}
	}
	return g
}

// junk is what an output holds before it is overwritten.
func junk(rows, cols int) grid {
	g := grid{rows, cols, make([]float32, rows*cols)}
	for i := range g.v {
		g.v[i] = float32(math.NaN())
	}
	return g
}

// floats are n normal numbers times scale.
func (e *env) floats(n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(e.rng.NormFloat64() * scale)
	}
	return x
}

func (e *env) ints(n, below int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = e.rng.Int32N(int32(below))
	}
	return x
}

// near compares with a definition, which is not computed in an unchecked place.
func (e *env) near(name string, got []float32, want func() []float64) {
	e.Helper()
	if e.unchecked {
		return
	}
	w := want()
	if len(got) != len(w) {
		e.Fatalf("%s: %d elements, want %d", name, len(got), len(w))
	}
	var largest, worst float64
	at := -1
	for i, v := range w {
		largest = max(largest, math.Abs(v))
		if d := math.Abs(float64(got[i]) - v); !(d <= worst) {
			worst, at = d, i
			if math.IsNaN(d) {
				break
			}
		}
	}
	tolerance := Tolerance
	if e.loose > 0 {
		tolerance = e.loose
	}
	if !(worst <= tolerance*max(largest, 1e-30)) {
		e.Errorf("%s: element %d of %d is %v, want %v (the largest is %v)", name, at, len(w), got[at], w[at], largest)
	}
}

// same compares bit for bit.
func same[T device.Number](e *env, name string, got, want []T) {
	e.Helper()
	if len(got) != len(want) {
		e.Fatalf("%s: %d elements, want %d", name, len(got), len(want))
	}
	for i := range got {
		if bitsOf(got[i]) != bitsOf(want[i]) {
			e.Fatalf("%s: element %d of %d is %v (%x), want %v (%x)", name, i, len(got), got[i], bitsOf(got[i]), want[i], bitsOf(want[i]))
		}
	}
}
