package evaluation

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Figures are what one ranking reaches on one set of targets.
type Figures struct {
	RecallAt10 float64    `json:"recall_at_10"`
	Interval   [2]float64 `json:"interval"`  // 95 %, bootstrap over users
	Users      int        `json:"users"`     // that have targets
	Positives  int        `json:"positives"` // their targets
	Coverage   float64    `json:"coverage"`  // P90 coverage@10, fraction of the catalogue
	Entropy    *float64   `json:"entropy_at_50,omitempty"`
}

// Result are the figures for all targets, and for those that are new to the user.
type Result struct {
	Figures
	NewOnly Figures `json:"new_only"`
}

// Report is an evaluation: the model's result and the baselines'.
type Report struct {
	Protocol   string  `json:"protocol"`
	Data       string  `json:"data"`
	DataDigest string  `json:"data_digest"`
	Job        string  `json:"job_digest"`
	Cut        string  `json:"cut"`
	EvalDays   float64 `json:"eval_days"`
	MinHistory int     `json:"min_history"`
	Items      int     `json:"items"`
	Result
	Baselines map[string]Result `json:"baselines,omitempty"`
}

const protocol = "Users that never trained, embedded at the cut. Recall@10: how much of what they did in the window after it is among the 10 best of the whole " +
	"catalogue, averaged over users, ties by expected rank; 95 % intervals by bootstrap over users. " +
	"\"new only\" leaves out all that the user had before. Where people come back to the same things, own repeats is the strongest baseline on all targets, " +
	"and \"new only\" is the fair question."

func newReport(o *Options) *Report {
	m := o.Data.Meta()
	return &Report{
		Protocol: protocol, Data: m.Name, DataDigest: m.Digest, Job: o.Job.Digest().String(),
		Cut: time.UnixMilli(m.CutMS).UTC().Format(time.RFC3339), EvalDays: m.EvalDays, MinHistory: o.MinHistory, Items: m.Items,
	}
}

// Text writes the report as a table for a terminal.
func (r *Report) Text(w io.Writer) error {
	fmt.Fprintf(w, "Recall@10 on %s: %d users, %d targets in the %g days after %s, %d items\n\n",
		r.Data, r.Users, r.Positives, r.EvalDays, r.Cut, r.Items)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\tall\t95 %%\tcoverage\tnew only\t95 %%\tcoverage\n")
	row(t, "model", &r.Result)
	for _, name := range baselineOrder(r.Baselines) {
		b := r.Baselines[name]
		row(t, name, &b)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write evaluation: %w", err)
	}
	if r.NewOnly.Users != r.Users {
		fmt.Fprintf(w, "\n%d of the users, with %d targets, did something new.\n", r.NewOnly.Users, r.NewOnly.Positives)
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", wrap(r.Protocol, 110)); err != nil {
		return fmt.Errorf("write evaluation: %w", err)
	}
	return nil
}

func row(w io.Writer, name string, r *Result) {
	cells := func(f *Figures) string {
		return fmt.Sprintf("%.4f\t%.4f-%.4f\t%.4f", f.RecallAt10, f.Interval[0], f.Interval[1], f.Coverage)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\n", name, cells(&r.Figures), cells(&r.NewOnly))
}

// baselineOrder is the order of the table: the simplest first; then what this build does not know, by name.
func baselineOrder(b map[string]Result) []string {
	var names []string
	for _, name := range baselineNames {
		if _, ok := b[name]; ok {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func wrap(text string, width int) string {
	var b strings.Builder
	line := 0
	for _, word := range strings.Fields(text) {
		if line > 0 && line+1+len(word) > width {
			b.WriteByte('\n')
			line = 0
		} else if line > 0 {
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += len(word)
	}
	return b.String()
}
