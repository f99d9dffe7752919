package evaluation

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Text writes the report as tables for a terminal.
func (r *Report) Text(w io.Writer) error {
	// The tables are put together first, so that there is one place where writing fails.
	var b strings.Builder
	fmt.Fprintf(&b, "Recall@10 on %s: %d users, %d targets in the %g days after %s, %d items\n\n",
		r.Data, r.Users, r.Positives, r.EvalDays, r.Cut, r.Items)
	r.recallTable(&b)
	if r.NewOnly.Users != r.Users {
		fmt.Fprintf(&b, "\n%d of the users, with %d targets, did something new.\n", r.NewOnly.Users, r.NewOnly.Positives)
	}
	r.secondaryTable(&b)
	r.stalenessTable(&b)
	for i, n := range r.Notes {
		fmt.Fprintf(&b, "%snote: %s\n", map[bool]string{true: "\n"}[i == 0], n)
	}
	fmt.Fprintf(&b, "\n%s\n", wrap(r.Protocol, 110))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write evaluation: %w", err)
	}
	return nil
}

// table aligns what write writes, cells ending in tabs. The builder does not fail, and so neither does the table.
func table(b *strings.Builder, write func(w io.Writer)) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	write(t)
	_ = t.Flush()
}

func (r *Report) recallTable(b *strings.Builder) {
	table(b, func(w io.Writer) {
		fmt.Fprintf(w, "\tall\t95 %%\tcoverage\tnew only\t95 %%\tcoverage\n")
		row := func(name string, r *Result) {
			fmt.Fprintf(w, "%s\t%s\t%.4f\t%s\t%.4f\n", name, recallCells(r.Recall), r.Coverage, recallCells(r.NewOnly.Recall), r.NewOnly.Coverage)
		}
		row("model", &r.Result)
		for _, name := range baselineOrder(r.Baselines) {
			b := r.Baselines[name]
			row(name, &b)
		}
	})
}

// secondaryTable is what the literature looks at, and how far the model is ahead of each baseline.
func (r *Report) secondaryTable(b *strings.Builder) {
	b.WriteByte('\n')
	table(b, func(w io.Writer) {
		fmt.Fprintf(w, "new only\tHR@10\tNDCG@10\tmodel's recall minus it, 95 %%: all\tnew only\n")
		row := func(name string, r *Result) {
			all, fresh := "-", "-"
			if r.ModelMinus != nil {
				all, fresh = span(r.ModelMinus.Interval), span(r.ModelMinus.NewOnly.Interval)
			}
			fmt.Fprintf(w, "%s\t%.4f\t%.4f\t%s\t%s\n", name, r.NewOnly.HitRateAt10, r.NewOnly.NDCGAt10, all, fresh)
		}
		row("model", &r.Result)
		for _, name := range baselineOrder(r.Baselines) {
			b := r.Baselines[name]
			row(name, &b)
		}
	})
}

func (r *Report) stalenessTable(b *strings.Builder) {
	if len(r.Staleness) == 0 {
		return
	}
	b.WriteByte('\n')
	table(b, func(w io.Writer) {
		fmt.Fprintf(w, "model embedded\tall\t95 %%\tminus once\tnew only\t95 %%\tminus once\n")
		fmt.Fprintf(w, "%s\t%s\t-\t%s\t-\n", Once, recallCells(r.Recall), recallCells(r.NewOnly.Recall))
		for _, s := range allStaleness {
			if x, ok := r.Staleness[s]; ok {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s, recallCells(x.Recall), span(x.MinusOnce.Interval), recallCells(x.NewOnly), span(x.MinusOnce.NewOnly.Interval))
			}
		}
	})
}

func recallCells(r Recall) string {
	return digits(r.RecallAt10) + "\t" + dashed(r.Interval)
}

func span(x [2]float64) string { return fmt.Sprintf("%+.4f to %+.4f", x[0], x[1]) }

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
