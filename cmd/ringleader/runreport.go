package main

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"html/template"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

//go:embed runreport.html
var runPage string

// runReportName is the file in the directory of a local run that shows it.
const runReportName = "report.html"

// trace is the speed of a run over time: what was completed when, by how many workers.
type trace struct{ steps []tracedStep }

type tracedStep struct {
	at      time.Duration // since the job was submitted
	users   int64
	workers int
}

func (t *trace) add(at time.Duration, e event) {
	t.steps = append(t.steps, tracedStep{at, e.Users, e.Size})
}

// The plot, in pixels.
const (
	plotLeft, plotTop    = 56., 12.
	plotWidth, plotBelow = 640., 36.
	plotHeight           = 200.
	plotBins             = 96
)

// speedPlot is users/s over time, and the number of workers, as steps.
type speedPlot struct {
	Width, Height         float64
	Left, Top, Right, Low float64
	Speed, Workers        string // points of two lines
	Ticks                 []plotTick
	MaxSpeed              string
	MaxWorkers            int
	Marks                 []plotMark // generations
}

type plotTick struct {
	X     float64
	Label string
}

type plotMark struct {
	X     float64
	Label string
}

// plot averages over bins of time that hold some steps each: a curve of single steps would show the clock more than the gang.
func (t *trace) plot(r *localReport) *speedPlot {
	if len(t.steps) < 2 {
		return nil
	}
	end := t.steps[len(t.steps)-1].at
	bins := max(1, min(plotBins, len(t.steps)/2))
	width := end / time.Duration(bins)
	if width <= 0 {
		return nil
	}
	speed := make([]float64, bins)
	most := 0
	for _, s := range t.steps {
		speed[min(int(s.at/width), bins-1)] += float64(s.users) / width.Seconds()
		most = max(most, s.workers)
	}
	top := slices.Max(speed)
	p := &speedPlot{Width: plotLeft + plotWidth + 40, Height: plotTop + plotHeight + plotBelow, Left: plotLeft, Top: plotTop, Right: plotLeft + plotWidth, Low: plotTop + plotHeight,
		MaxSpeed: fmt.Sprintf("%.0f", top), MaxWorkers: most}
	x := func(at time.Duration) float64 { return plotLeft + plotWidth*at.Seconds()/end.Seconds() }
	var line, members []string
	for i, v := range speed {
		y := p.Low - plotHeight*v/max(top, 1e-9)
		line = append(line, fmt.Sprintf("%.1f,%.1f", x(time.Duration(i)*width), y), fmt.Sprintf("%.1f,%.1f", x(time.Duration(i+1)*width), y))
	}
	before := time.Duration(0)
	for _, s := range t.steps {
		y := p.Low - .92*plotHeight*float64(s.workers)/float64(max(most, 1))
		members = append(members, fmt.Sprintf("%.1f,%.1f", x(before), y), fmt.Sprintf("%.1f,%.1f", x(s.at), y))
		before = s.at
	}
	p.Speed, p.Workers = strings.Join(line, " "), strings.Join(members, " ")
	for i := range 5 {
		at := end * time.Duration(i) / 4
		p.Ticks = append(p.Ticks, plotTick{x(at), fmt.Sprintf("%.1f s", at.Seconds())})
	}
	for _, g := range r.Generations {
		p.Marks = append(p.Marks, plotMark{min(max(x(time.Duration(g.AtSeconds*float64(time.Second))), plotLeft), p.Right), fmt.Sprint(g.Number)})
	}
	return p
}

// writeRunReport writes the page into the run's directory. It loads nothing from elsewhere and runs no scripts.
func writeRunReport(dir string, r *localReport, t *trace) error {
	page, err := template.New("run").Parse(runPage)
	if err != nil {
		return fmt.Errorf("write report of the run: %w", err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, struct {
		*localReport
		Plot *speedPlot
	}{r, t.plot(r)}); err != nil {
		return fmt.Errorf("write report of the run: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(dir, runReportName), b.Bytes(), 0o644)
}
