package evaluation

import (
	"math"
	"strconv"
	"strings"

	"github.com/ringleader-dev/ringleader"
)

// StepLoss is the mean loss of the users of one step.
type StepLoss struct {
	Step ringleader.Step
	Loss float64
}

// curve is a line chart of losses: each step's, and a mean that lags behind it. Lengths are in the drawing's own units.
type curve struct {
	Width, Height, Left, Right, Bottom, TickY, NameX coordinate
	X, Y                                             []tick
	Each, Mean                                       string // paths
	Last                                             string // of the mean
	Over                                             int    // how many steps the mean is over
}

const (
	curveWidth  = 940
	curveHeight = 240
	curveLeft   = 52
	curveTop    = 8
	mostPoints  = 800 // more would not be seen
	meanShare   = 20  // the mean is over this part of the run
)

// newCurve is nil if there is nothing to draw a line through. Losses are in the order of steps.
func newCurve(losses []StepLoss) *curve {
	x, y, binned := thin(losses)
	if len(x) < 2 {
		return nil
	}
	over := max(1, len(y)/meanShare)
	mean := lagging(y, over)
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range y {
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo == hi {
		lo, hi = lo-.5, hi+.5
	}
	c := &curve{
		Width: curveWidth, Height: curveHeight + 22, Left: curveLeft, Right: curveWidth - 8, Bottom: curveHeight, TickY: curveHeight + 16,
		NameX: curveLeft - 8, Over: over * binned, Last: digits(mean[len(mean)-1]),
	}
	first, last := x[0], x[len(x)-1]
	atX := func(v float64) coordinate { return c.Left + (c.Right-c.Left)*coordinate((v-first)/(last-first)) }
	atY := func(v float64) coordinate { return curveTop + (c.Bottom-curveTop)*coordinate((hi-v)/(hi-lo)) }
	c.X, c.Y = ticksWithin(first, last, atX), ticksWithin(lo, hi, atY)
	path := func(values []float64) string {
		var b strings.Builder
		for i, v := range values {
			b.WriteByte("ML"[min(i, 1)])
			b.WriteString(atX(x[i]).String() + " " + atY(v).String())
		}
		return b.String()
	}
	c.Each, c.Mean = path(y), path(mean)
	return c
}

// thin averages runs of steps until there are few enough, and leaves out what cannot be drawn. binned is the length of a run.
func thin(losses []StepLoss) (x, y []float64, binned int) {
	binned = (len(losses) + mostPoints - 1) / mostPoints
	for i := 0; i < len(losses); i += binned {
		var steps, sum, n float64
		for _, l := range losses[i:min(i+binned, len(losses))] {
			if !math.IsNaN(l.Loss) && !math.IsInf(l.Loss, 0) {
				steps, sum, n = steps+float64(l.Step), sum+l.Loss, n+1
			}
		}
		if n > 0 {
			x, y = append(x, steps/n), append(y, sum/n)
		}
	}
	return x, y, binned
}

// lagging is the mean of each value and those before it, over of them if there are as many.
func lagging(y []float64, over int) []float64 {
	out := make([]float64, len(y))
	for i := range y {
		from := max(0, i-over+1)
		for _, v := range y[from : i+1] {
			out[i] += v / float64(i+1-from)
		}
	}
	return out
}

// ticksWithin are round values from lo to hi.
func ticksWithin(lo, hi float64, at func(float64) coordinate) []tick {
	var list []tick
	step, decimals := tickStep(hi - lo)
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		list = append(list, tick{at(i * step), strconv.FormatFloat(i*step, 'f', decimals, 64)})
	}
	return list
}
