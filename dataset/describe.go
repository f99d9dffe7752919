package dataset

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Stats are counts over a whole data set, for people.
type Stats struct {
	Heldout     int     // users that never train
	Evaluable   int     // held-out users with an action up to the cut and a positive in the evaluation window
	Targets     int64   // positives of those in the evaluation window
	BeforeCut   int64   // actions of all users up to the cut
	PosAfterCut int64   // positives of all users after the cut
	Tied        int64   // actions that share their time with another one of the same user
	ByType      []int64 // actions by type
	Lengths     []int   // by user, ascending
}

// Stats counts, in one pass.
func (d *Dataset) Stats() Stats {
	s := Stats{ByType: make([]int64, len(d.meta.Types)), Lengths: make([]int, 0, d.meta.Users)}
	for u := range d.meta.Users {
		q := d.sequence(u)
		n := until(q.TimeMS, d.meta.CutMS)
		end := until(q.TimeMS, d.meta.EvalEndMS())
		var targets int64
		for i, a := range q.Action {
			s.ByType[a]++
			if i >= n && d.meta.Positive[a] {
				s.PosAfterCut++
				if i < end {
					targets++
				}
			}
			if i > 0 && q.TimeMS[i] == q.TimeMS[i-1] || i+1 < len(q.TimeMS) && q.TimeMS[i] == q.TimeMS[i+1] {
				s.Tied++
			}
		}
		s.BeforeCut += int64(n)
		s.Lengths = append(s.Lengths, len(q.Item))
		if d.Heldout(u) {
			s.Heldout++
			if n > 0 && targets > 0 {
				s.Evaluable++
				s.Targets += targets
			}
		}
	}
	slices.Sort(s.Lengths)
	return s
}

// Describe is a page of text about the data set.
func (d *Dataset) Describe() string {
	m, s := &d.meta, d.Stats()
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("name", "%s", m.Name)
	line("digest", "%s", m.Digest)
	line("source", "%s", strings.Join(m.Source, ", "))
	line("users", "%d: %d train, %d held out (%g), of which %d can be evaluated", m.Users, m.Users-s.Heldout, s.Heldout, m.Holdout, s.Evaluable)
	line("items", "%d, vectors of %d: %s", m.Items, m.VectorDim, m.Vectors)
	line("actions", "%d, %s", m.Actions, s.types(m))
	line("time", "%s to %s", stamp(m.FirstMS), stamp(m.LastMS))
	line("cut", "%s: %d actions up to it, %d positives after", stamp(m.CutMS), s.BeforeCut, s.PosAfterCut)
	line("evaluation", "%g days, to %s: %d targets of held-out users", m.EvalDays, stamp(m.EvalEndMS()), s.Targets)
	line("length", "p10 %d, median %d, p90 %d, p99 %d, longest %d", s.quantile(.1), s.quantile(.5), s.quantile(.9), s.quantile(.99), s.quantile(1))
	line("ties", "%.1f %% of the actions share their time with another one of the user", 100*float64(s.Tied)/float64(m.Actions))
	line("columns", "surface: %s; duration: %s", orNone(strings.Join(m.Surfaces, ", ")), yesNo(m.Durations))
	return b.String()
}

func (s *Stats) types(m *Meta) string {
	var parts []string
	for i, name := range m.Types {
		mark := ""
		if m.Positive[i] {
			mark = " (positive)"
		}
		parts = append(parts, fmt.Sprintf("%s%s %.1f %%", name, mark, 100*float64(s.ByType[i])/float64(m.Actions)))
	}
	return strings.Join(parts, ", ")
}

// quantile is the nearest rank.
func (s *Stats) quantile(p float64) int { return s.Lengths[int(p*float64(len(s.Lengths)-1)+.5)] }

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "none"
}
