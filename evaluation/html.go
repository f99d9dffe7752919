package evaluation

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
)

//go:embed report.html
var pageHTML string

// page is what the template shows.
type page struct {
	*Report
	RecallPlots, StalenessPlots []plot
	Rows                        []tableRow
	StalenessRows               []staleRow
	LossCurve                   *curve // nil if the losses are not known
}

type tableRow struct {
	Name             string
	All              Figures
	New              NewFigures
	AllLead, NewLead *Difference // nil for the model itself
	Strong           bool
}

type staleRow struct {
	Name             string
	All, New         Recall
	AllLead, NewLead *Difference // nil for once
}

// HTML writes the report as one page that loads nothing from elsewhere and runs no scripts. The same report gives the same bytes.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"digits": digits, "interval": dashed, "signed": span, "verdict": verdict, "entropy": entropyText,
	}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("write evaluation: %w", err)
	}
	p := page{Report: r, Rows: r.rows(), StalenessRows: r.staleRows(), LossCurve: newCurve(r.Losses)}
	p.RecallPlots = twoPlots(len(p.Rows), func(i int) (all, fresh length) {
		row := &p.Rows[i]
		return length{row.Name, row.All.Recall, row.Strong}, length{row.Name, row.New.Recall, row.Strong}
	})
	if len(p.StalenessRows) > 0 {
		p.StalenessPlots = twoPlots(len(p.StalenessRows), func(i int) (all, fresh length) {
			row := &p.StalenessRows[i]
			return length{row.Name, row.All, true}, length{row.Name, row.New, true}
		})
	}
	if err := t.Execute(w, &p); err != nil {
		return fmt.Errorf("write evaluation: %w", err)
	}
	return nil
}

// twoPlots shows all targets and new ones side by side, each at its own scale.
func twoPlots(n int, at func(i int) (all, fresh length)) []plot {
	all, fresh := make([]length, n), make([]length, n)
	for i := range n {
		all[i], fresh[i] = at(i)
	}
	return []plot{newPlot("Recall@10, all targets", all), newPlot("Recall@10, new only", fresh)}
}

func (r *Report) rows() []tableRow {
	rows := []tableRow{{Name: "model", All: r.Figures, New: r.NewOnly, Strong: true}}
	for _, name := range baselineOrder(r.Baselines) {
		b := r.Baselines[name]
		row := tableRow{Name: name, All: b.Figures, New: b.NewOnly}
		if b.ModelMinus != nil {
			row.AllLead, row.NewLead = &b.ModelMinus.Difference, &b.ModelMinus.NewOnly
		}
		rows = append(rows, row)
	}
	return rows
}

// staleRows are none if only once was asked for.
func (r *Report) staleRows() []staleRow {
	if len(r.Staleness) == 0 {
		return nil
	}
	rows := []staleRow{{Name: string(Once), All: r.Recall, New: r.NewOnly.Recall}}
	for _, s := range allStaleness {
		if x, ok := r.Staleness[s]; ok {
			rows = append(rows, staleRow{string(s), x.Recall, x.NewOnly, &x.MinusOnce.Difference, &x.MinusOnce.NewOnly})
		}
	}
	return rows
}

func digits(x float64) string { return fmt.Sprintf("%.4f", x) }

func dashed(x [2]float64) string { return fmt.Sprintf("%.4f-%.4f", x[0], x[1]) }

func entropyText(e *float64) string {
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", *e)
}

// verdict says in a word what the interval allows to say.
func verdict(d *Difference) string {
	switch {
	case !d.Clear():
		return "unclear"
	case d.Interval[0] > 0:
		return "ahead"
	default:
		return "behind"
	}
}
