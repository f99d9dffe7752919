package evaluation

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/internal/counter"
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

// The paired interval is that of two bootstraps that draw the same users, here done the long way round.
func TestDifferenceIsPaired(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var a, b []outcome
	for range 150 {
		easy := r.Float64() // most of the spread is between users, and is the same for both
		a = append(a, outcome{recall: easy + .05 + .02*r.Float64(), targets: 3})
		b = append(b, outcome{recall: easy + .02*r.Float64(), targets: 3})
		if r.IntN(4) == 0 {
			a, b = append(a, outcome{}), append(b, outcome{}) // only there for coverage
		}
	}
	var x, y []float64
	for i := range a {
		if a[i].targets > 0 {
			x, y = append(x, a[i].recall), append(y, b[i].recall)
		}
	}
	means := make([]float64, resamples)
	for r := range means {
		for i := range x {
			j := counter.Below(counter.Key(0, counter.Bootstrap, uint64(r)), uint64(i), len(x))
			means[r] += x[j]/float64(len(x)) - y[j]/float64(len(x))
		}
	}
	slices.Sort(means)
	got := difference(a, b)
	if want := mean(x) - mean(y); math.Abs(got.RecallAt10-want) > 1e-6 {
		t.Errorf("difference %g, want %g", got.RecallAt10, want)
	}
	if math.Abs(got.Interval[0]-means[25]) > 2e-6 || math.Abs(got.Interval[1]-means[974]) > 2e-6 {
		t.Errorf("interval %v, want %g to %g", got.Interval, means[25], means[974])
	}
	// Unpaired, the two intervals overlap widely: what is clear user by user would not be.
	if lo, hi := recallOf(a).Interval[0], recallOf(b).Interval[1]; lo > hi || !got.Clear() {
		t.Errorf("recalls %v and %v, difference %v", recallOf(a), recallOf(b), got)
	}
	if back := difference(b, a); !back.Clear() || back.RecallAt10 != -got.RecallAt10 {
		t.Errorf("the other way round: %v", back)
	}
	if same := difference(a, a); same != (Difference{}) || same.Clear() {
		t.Errorf("with itself: %v", same)
	}
}
