package model

import (
	"math"
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// encoded are the lanes of some times, in milliseconds, by the periods of absolute times or those of the others.
func (s *setup) encoded(t *testing.T, long bool, phase []float32, times ...int64) [][]float32 {
	t.Helper()
	lanes := len(phase) + 1
	in, err := device.Alloc[int64](s.dev, len(times))
	if err != nil {
		t.Fatal(err)
	}
	out, err := device.Alloc[float32](s.dev, len(times)*lanes)
	if err != nil {
		t.Fatal(err)
	}
	defer s.dev.Free(in.Addr)
	defer s.dev.Free(out.Addr)
	device.Upload(s.lane, in, times)
	absolute, relative := s.run.periodsOf()
	periods := relative
	if long {
		periods = absolute
	}
	s.lane.EncodeTime(device.Matrix(out, len(times), lanes), in, periods, s.upload(t, "phase", phase), logTimeScale)
	flat := s.download(t, out)
	rows := make([][]float32, len(times))
	for i := range rows {
		rows[i] = flat[i*lanes : (i+1)*lanes]
	}
	return rows
}

// phases are some that no lane shares.
func phases(n int) []float32 {
	p := make([]float32, n)
	for i := range p {
		p[i] = float32(i)*.37 - 3
	}
	return p
}

// The three times take 25, 65 and 65 columns: two for each period, and the logarithm.
func TestTimeColumns(t *testing.T) {
	m, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	c := m.columns()
	if absolute, relative, gap := c.relative-c.absolute, c.gap-c.relative, c.end-c.gap; absolute != 25 || relative != 65 || gap != 65 {
		t.Errorf("%d, %d, %d columns; want 25, 65, 65", absolute, relative, gap)
	}
}

// A period later, and a thousand periods later, the lanes of that period are the same, and some others are not.
func TestTimeLanesAreOfTheirPeriod(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	const start = 1_700_000_123_456
	for _, c := range []struct {
		name    string
		long    bool
		periods []float64
		start   int64
	}{{"absolute", true, absolutePeriods[:], start}, {"relative and gap", false, relativePeriods(), 54_321}} {
		phase := phases(2 * len(c.periods))
		for i, p := range c.periods {
			for _, n := range []float64{1, 1000} {
				ms := math.Round(n * p * 1000)
				// Times are whole milliseconds; a period need not be. In float32 a lane has an error of its own.
				off := 2*math.Pi*math.Abs(ms-n*p*1000)/(p*1000) + 1e-6
				rows := s.encoded(t, c.long, phase, c.start, c.start+int64(ms), c.start+int64(ms/2))
				moved := 0.0
				for _, lane := range []int{2 * i, 2*i + 1} {
					if d := math.Abs(float64(rows[1][lane] - rows[0][lane])); d > off {
						t.Errorf("%s: lane %d of period %g s, %g periods later: off by %g, want at most %g", c.name, lane, p, n, d, off)
					}
					moved = max(moved, math.Abs(float64(rows[2][lane]-rows[0][lane])))
				}
				if n == 1 && moved < .5 {
					t.Errorf("%s: half a period of %g s later the lanes have moved by %g only", c.name, p, moved)
				}
			}
		}
	}
}

// Of today's epoch seconds the lanes tell the minutes, and the seconds in a quarter of an hour: float32 would round them to 128 seconds.
func TestEpochSecondsLoseNoMinutes(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	phase := phases(2 * len(absolutePeriods))
	const start, period = 1_700_000_000_000, 900_000
	var times []int64
	for i := range int64(120) {
		times = append(times, start+i*7_001)
	}
	for i, row := range s.encoded(t, true, phase, times...) {
		angle := 2 * math.Pi * float64(times[i]%period) / period
		if cos, sin := math.Cos(angle+float64(phase[0])), math.Sin(angle+float64(phase[1])); math.Abs(cos-float64(row[0])) > 1e-6 || math.Abs(sin-float64(row[1])) > 1e-6 {
			t.Errorf("%d ms: %v, %v; want %v, %v", times[i], row[0], row[1], cos, sin)
		}
	}
	if a, b := float32(start/1000), float32(start/1000+60); a != b {
		t.Error("float32 tells the minutes of epoch seconds: this test is about nothing")
	}
}
