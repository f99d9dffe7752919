package reproduction

import (
	"fmt"
	"io"
	"strings"
)

// Report is a reproduction on one data set.
type Report struct {
	Data     string     `json:"data"`
	Digest   string     `json:"data_digest"`
	Window   string     `json:"window"` // which days are evaluated
	Items    int        `json:"items"`
	Users    int        `json:"users"` // with targets
	NewUsers int        `json:"new_only_users"`
	Budget   string     `json:"budget"` // of every run
	Seeds    []uint64   `json:"seeds"`
	Baseline []Baseline `json:"baselines"`
	Command  string     `json:"command"` // that makes a table, with %s for its name
	Tables   []Outcome  `json:"tables"`
}

// Baseline is what something simple reaches.
type Baseline struct {
	Name     string     `json:"name"`
	All      float64    `json:"recall_at_10"`
	AllRange [2]float64 `json:"interval"`
	New      float64    `json:"new_only_recall_at_10"`
	NewRange [2]float64 `json:"new_only_interval"`
}

// Markdown writes the report as a section of a document.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%d users with targets (%d with new ones) %s, %d items. Every run: %s; seeds %s.\n",
		r.Data, r.Users, r.NewUsers, r.Window, r.Items, r.Budget, list(r.Seeds))
	if len(r.Baseline) > 0 {
		b.WriteString("\n| baseline | all targets | 95 % | new only | 95 % |\n|---|---|---|---|---|\n")
		for _, x := range r.Baseline {
			fmt.Fprintf(&b, "| %s | %.4f | %s | %.4f | %s |\n", x.Name, x.All, span(x.AllRange), x.New, span(x.NewRange))
		}
	}
	for i := range r.Tables {
		r.table(&b, &r.Tables[i])
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write reproduction: %w", err)
	}
	return nil
}

func (r *Report) table(b *strings.Builder, o *Outcome) {
	fmt.Fprintf(b, "\n### %s: %s\n\n%s\n", r.Data, o.Title, o.Note)
	for _, s := range o.Skipped {
		fmt.Fprintf(b, "\nSkipped: %s, because %s.\n", s.Arm, s.Why)
	}
	fmt.Fprintf(b, "\n```\n"+r.Command+"\n```\n\n", o.Name)
	o.armTable(b)
	for _, coverage := range []bool{false, true} {
		o.claimTable(b, coverage)
	}
}

func (o *Outcome) armTable(b *strings.Builder) {
	b.WriteString("| arm | changes | paper | its coverage | all targets | 95 % | seeds | coverage | new only | 95 % | seeds | coverage |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, a := range o.Arms {
		recall, coverage := "", ""
		if a.Paper != nil {
			recall = fmt.Sprintf("%.3f", a.Paper.Recall)
			if a.Paper.Coverage > 0 {
				coverage = fmt.Sprintf("%.4g", a.Paper.Coverage)
			}
		}
		f := o.Figures[a.Name]
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", a.Name, a.changes(), recall, coverage, f.All.cells(), f.New.cells())
	}
}

// changes are the arm's fields, as short as they can be.
func (a *Arm) changes() string {
	var all []string
	for _, s := range a.Set {
		all = append(all, "`"+strings.TrimPrefix(s, "what.")+"`")
	}
	return strings.Join(all, " ")
}

func (f Figure) cells() string {
	return fmt.Sprintf("%.4f | %s | %s | %.4f", f.Mean, span(f.Interval), numbers(f.Seeds, plain), f.Coverage)
}

func (o *Outcome) claimTable(b *strings.Builder, coverage bool) {
	var rows []Judged
	for _, j := range o.Judged {
		if j.Coverage == coverage {
			rows = append(rows, j)
		}
	}
	if len(rows) == 0 {
		return
	}
	what, interval := "Recall@10", "95 %"
	if coverage {
		what, interval = "coverage", "seeds"
	}
	b.WriteString("\n" + tally(rows))
	fmt.Fprintf(b, "| %s | paper | all targets | %s | | new only | %s | |\n|---|---|---|---|---|---|---|---|\n", what, interval, interval)
	for _, j := range rows {
		paper := ""
		switch {
		case j.Ours:
			paper = "(ours)"
		case j.Paper != 0:
			paper = fmt.Sprintf("%+.3f", j.Paper)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", j.Text, paper, j.All.cells(coverage), j.New.cells(coverage))
	}
}

func (d Difference) cells(coverage bool) string {
	interval := signed(d.Interval[0]) + " to " + signed(d.Interval[1])
	if coverage {
		interval = numbers(d.Seeds, signed)
	}
	return signed(d.Mean) + " | " + interval + " | " + d.Verdict.bold()
}

// bold marks what is a result.
func (v Verdict) bold() string {
	if v == CantTell {
		return string(v)
	}
	return "**" + string(v) + "**"
}

// tally counts the verdicts about the paper's claims, if there are any.
func tally(rows []Judged) string {
	claims := 0
	for _, j := range rows {
		if !j.Ours {
			claims++
		}
	}
	if claims == 0 {
		return ""
	}
	count := func(of func(Judged) Difference) string {
		n := map[Verdict]int{}
		for _, j := range rows {
			if !j.Ours {
				n[of(j).Verdict]++
			}
		}
		return fmt.Sprintf("%d held, %d did not hold, %d cannot be told", n[Held], n[Failed], n[CantTell])
	}
	return fmt.Sprintf("Of the paper's %d claims, on all targets %s; on new ones %s.\n\n", claims,
		count(func(j Judged) Difference { return j.All }), count(func(j Judged) Difference { return j.New }))
}

func span(x [2]float64) string { return fmt.Sprintf("%.4f-%.4f", x[0], x[1]) }

func plain(x float64) string { return fmt.Sprintf("%.4f", x) }

// signed has no negative zero.
func signed(x float64) string {
	s := fmt.Sprintf("%+.4f", x)
	if s == "-0.0000" {
		return "+0.0000"
	}
	return s
}

func numbers(x []float64, text func(float64) string) string {
	var s []string
	for _, v := range x {
		s = append(s, text(v))
	}
	return strings.Join(s, " ")
}

func list(x []uint64) string {
	var s []string
	for _, v := range x {
		s = append(s, fmt.Sprint(v))
	}
	return strings.Join(s, ", ")
}
