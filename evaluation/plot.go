package evaluation

import (
	"math"
	"strconv"
)

// plot is a bar chart: bars lie, one below the other, with whiskers for their intervals. Lengths are in the drawing's own units.
type plot struct {
	Title                                     string
	Width, Height, Left, Bottom, TickY, NameX coordinate
	Thick                                     coordinate // of a bar
	Ticks                                     []tick
	Bars                                      []bar
}

type tick struct {
	X    coordinate // along its axis
	Text string
}

type bar struct {
	Name, Value, Interval, Class, Weight                     string
	Y, TextY, Length, Lo, Hi, CapTop, CapEnd, Middle, ValueX coordinate
}

// coordinate is written with a tenth of a unit: no more can be seen.
type coordinate float64

func (c coordinate) String() string {
	return strconv.FormatFloat(math.Round(float64(c)*10)/10, 'f', -1, 64)
}

const (
	plotWidth  = 460
	nameWidth  = 122
	barsWidth  = 270
	rowHeight  = 28
	thickness  = 16
	tickHeight = 22
	fewTicks   = 4
)

// length is one bar's figures.
type length struct {
	name   string
	recall Recall
	strong bool // the model's
}

func newPlot(title string, lengths []length) plot {
	bottom := coordinate(rowHeight * len(lengths))
	p := plot{
		Title: title, Width: plotWidth, Height: bottom + tickHeight, Left: nameWidth, Bottom: bottom, TickY: bottom + 16,
		NameX: nameWidth - 8, Thick: thickness,
	}
	most := 0.0
	for _, l := range lengths {
		most = max(most, l.recall.RecallAt10, l.recall.Interval[1])
	}
	if most == 0 {
		most = 1
	}
	at := func(x float64) coordinate { return coordinate(nameWidth + barsWidth*x/most) }
	step, decimals := tickStep(most)
	for i := 0; float64(i)*step <= most; i++ {
		p.Ticks = append(p.Ticks, tick{at(float64(i) * step), strconv.FormatFloat(float64(i)*step, 'f', decimals, 64)})
	}
	for i, l := range lengths {
		y := coordinate(rowHeight*i + (rowHeight-thickness)/2)
		b := bar{
			Name: l.name, Value: digits(l.recall.RecallAt10), Interval: dashed(l.recall.Interval), Class: "baseline",
			Y: y, TextY: y + 12, Length: at(l.recall.RecallAt10) - nameWidth, Lo: at(l.recall.Interval[0]), Hi: at(l.recall.Interval[1]),
			CapTop: y + 4, CapEnd: y + thickness - 4, Middle: y + thickness/2,
		}
		if l.strong {
			b.Class, b.Weight = "model", "strong"
		}
		b.ValueX = max(b.Hi, b.Length+nameWidth) + 8
		p.Bars = append(p.Bars, b)
	}
	return p
}

// tickStep is the smallest of 1, 2 and 5 times a power of ten that leaves few ticks, and how many decimals it has.
func tickStep(most float64) (step float64, decimals int) {
	exponent := int(math.Floor(math.Log10(most / fewTicks)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if step = factor * math.Pow10(exponent); step*fewTicks >= most {
			break
		}
	}
	return step, max(0, -int(math.Floor(math.Log10(step)+1e-9)))
}
