package evaluation

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader"
)

var point = regexp.MustCompile(`[ML]([0-9.]+) ([0-9.]+)`)

// points are those of a path.
func points(t *testing.T, path string) (x, y []float64) {
	t.Helper()
	for _, m := range point.FindAllStringSubmatch(path, -1) {
		px, err := strconv.ParseFloat(m[1], 64)
		check(t, err)
		py, err := strconv.ParseFloat(m[2], 64)
		check(t, err)
		x, y = append(x, px), append(y, py)
	}
	return x, y
}

func lossesOf(n int, loss func(step int) float64) []StepLoss {
	var list []StepLoss
	for s := 1; s <= n; s++ {
		list = append(list, StepLoss{ringleader.Step(s), loss(s)})
	}
	return list
}

// The curve goes through the losses in the scale of its ticks, and the mean lags behind.
func TestCurve(t *testing.T) {
	c := newCurve(lossesOf(41, func(s int) float64 { return 10 - float64(s-1)/8 })) // 10 to 5
	x, y := points(t, c.Each)
	if len(x) != 41 {
		t.Fatalf("%d points, want 41", len(x))
	}
	for i := range x {
		wantX := float64(c.Left) + float64(c.Right-c.Left)*float64(i)/40
		wantY := curveTop + float64(c.Bottom-curveTop)*float64(i)/40
		if math.Abs(x[i]-wantX) > .06 || math.Abs(y[i]-wantY) > .06 {
			t.Errorf("step %d at %g, %g; want %.1f, %.1f", i+1, x[i], y[i], wantX, wantY)
		}
	}
	for i, tk := range c.X {
		if v := 10 * (i + 1); tk.Text != strconv.Itoa(v) || !closeTo(tk.X, x[v-1]) {
			t.Errorf("tick %d is %+v, want %d at %g", i, tk, v, x[v-1])
		}
	}
	for _, tk := range c.Y {
		v, err := strconv.ParseFloat(tk.Text, 64)
		check(t, err)
		if want := curveTop + float64(c.Bottom-curveTop)*(10-v)/5; !closeTo(tk.X, want) {
			t.Errorf("tick %s at %v, want %.1f", tk.Text, tk.X, want)
		}
	}
	_, mean := points(t, c.Mean)
	if c.Over != 2 || mean[0] != y[0] || math.Abs(mean[40]-(y[40]+y[39])/2) > .1 || c.Last != "5.0625" {
		t.Errorf("mean over %d ends at %g, %s; the losses at %g", c.Over, mean[40], c.Last, y[40])
	}
}

func closeTo(c coordinate, want float64) bool { return math.Abs(float64(c)-want) < .06 }

// Long runs are averaged in runs of steps, what is no number is left out, and a line needs two points.
func TestCurveOfManyAndFewSteps(t *testing.T) {
	c := newCurve(lossesOf(10*mostPoints, func(s int) float64 {
		if s%100 == 0 {
			return math.NaN()
		}
		return float64(s)
	}))
	if x, _ := points(t, c.Each); len(x) != mostPoints || c.Over != 10*mostPoints/meanShare || strings.Contains(c.Each+c.Mean, "NaN") {
		t.Errorf("%d points, mean over %d", len(x), c.Over)
	}
	if c := newCurve(lossesOf(2, func(int) float64 { return 3 })); c == nil || strings.Contains(c.Each, "NaN") {
		t.Errorf("equal losses: %+v", c)
	}
	for n, l := range [][]StepLoss{nil, lossesOf(1, func(int) float64 { return 1 }), lossesOf(9, func(int) float64 { return math.Inf(1) })} {
		if newCurve(l) != nil {
			t.Errorf("case %d: a curve of no line", n)
		}
	}
}

// The page shows what the report has, and notes.
func TestPageWithCurveAndNotes(t *testing.T) {
	r := sample()
	r.Losses = lossesOf(30, func(s int) float64 { return 1 / float64(s) })
	r.Notes = []string{"the data set has no surfaces: the feature surface is off"}
	page := pageOf(t, r)
	for _, want := range []string{`<path class="mean" d="M52 8L`, "Loss of each step", "Note: the data set has no surfaces: the feature surface is off."} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in\n%s", want, page)
		}
	}
	var b strings.Builder
	check(t, r.Text(&b))
	if !strings.Contains(b.String(), "\nnote: the data set has no surfaces: the feature surface is off\n") {
		t.Errorf("no note in\n%s", b.String())
	}
	r.Losses = nil
	if strings.Contains(pageOf(t, r), "Loss of each step") {
		t.Error("a curve without losses")
	}
}
