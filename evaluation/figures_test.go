package evaluation

import (
	"math"
	"testing"
)

func TestCoverage(t *testing.T) {
	for _, c := range []struct {
		shown []int
		want  float64
	}{
		{[]int{10, 0, 0, 0}, .25},
		{[]int{0, 9, 1, 0}, .25},       // 9 of 10 are 90 %
		{[]int{8, 1, 1, 0}, .5},        // 8 are not
		{[]int{1, 1, 1, 1, 1}, 1},      // 4 of 5 are not
		{[]int{0, 0, 0}, 0},            // nothing shown
		{[]int{5, 0, 3, 1, 1, 0}, .5},  // 5+3+1
		{[]int{0, 45, 45, 10}, 2. / 4}, // 90 of 100
	} {
		if got := coverage(c.shown); got != c.want {
			t.Errorf("%v: %g, want %g", c.shown, got, c.want)
		}
	}
}

func TestEntropy(t *testing.T) {
	d := desk{p: &population{interest: []int32{0, 0, 1, 2, -1}, interests: 3}, count: make([]int32, 3)}
	for _, c := range []struct {
		top  []int32
		want float64
	}{
		{[]int32{0, 1}, 0},
		{[]int32{0, 2}, math.Ln2},
		{[]int32{0, 2, 3}, math.Log(3)},
		{[]int32{0, 1, 2, 4}, 2./3*math.Log(1.5) + 1./3*math.Log(3)},
	} {
		d.top = c.top
		if got := d.entropy(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %g, want %g", c.top, got, c.want)
		}
	}
	if d.top = []int32{4}; !math.IsNaN(d.entropy()) {
		t.Error("an item without interest has entropy")
	}
}

// The interval of a mean of n independent values is about 1.96 standard errors to either side.
func TestInterval(t *testing.T) {
	x := make([]float64, 400)
	for i := range x {
		if i%4 == 0 {
			x[i] = 1
		}
	}
	got, error95 := interval(x), 1.96*math.Sqrt(.25*.75/400)
	for i, want := range [2]float64{.25 - error95, .25 + error95} {
		if math.Abs(got[i]-want) > .008 {
			t.Errorf("interval %v, want about %g at %d", got, want, i)
		}
	}
	if again := interval(x); again != got {
		t.Errorf("%v, then %v", got, again)
	}
	if one := interval([]float64{.5}); one != [2]float64{.5, .5} {
		t.Errorf("interval of one value: %v", one)
	}
	if none := interval(nil); none != [2]float64{} {
		t.Errorf("interval of nothing: %v", none)
	}
}
