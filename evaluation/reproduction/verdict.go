package reproduction

import (
	"slices"
)

// Verdict says what the runs allow to say about a claim.
type Verdict string

// The verdicts.
const (
	Held     Verdict = "held"
	Failed   Verdict = "did not hold"
	CantTell Verdict = "cannot be told"
)

// Difference is how much more the arms of a claim reached than the others.
type Difference struct {
	Mean     float64    `json:"difference"`
	Interval [2]float64 `json:"interval,omitzero"` // 95 %; none of coverage
	Seeds    []float64  `json:"seeds"`
	Verdict  Verdict    `json:"verdict"`
}

// Judged is a claim with its verdicts.
type Judged struct {
	Claim
	All Difference `json:"all"`
	New Difference `json:"new_only"`
}

// Outcome is a table with what was reached.
type Outcome struct {
	Table
	Figures map[string]ArmFigures `json:"figures"`
	Judged  []Judged              `json:"judged"`
}

// ArmFigures are those on all targets and on new ones.
type ArmFigures struct {
	All Figure `json:"all"`
	New Figure `json:"new_only"`
}

// Judge sums up the runs of every arm of a table, each in the same order of seeds.
func Judge(t Table, runs map[string][]Run) (Outcome, error) {
	if err := pairable(runs); err != nil {
		return Outcome{}, err
	}
	o := Outcome{Table: t, Figures: map[string]ArmFigures{}}
	all, fresh := func(r Run) Sample { return r.All }, func(r Run) Sample { return r.New }
	for _, a := range t.Arms {
		o.Figures[a.Name] = ArmFigures{All: figure(samples(runs[a.Name], all)), New: figure(samples(runs[a.Name], fresh))}
	}
	for _, c := range t.Claims {
		o.Judged = append(o.Judged, Judged{Claim: c, All: judge(c, runs, all), New: judge(c, runs, fresh)})
	}
	return o, nil
}

func samples(runs []Run, of func(Run) Sample) []Sample {
	var s []Sample
	for _, r := range runs {
		s = append(s, of(r))
	}
	return s
}

func judge(c Claim, runs map[string][]Run, of func(Run) Sample) Difference {
	arms := func(names []string) [][]Sample {
		var s [][]Sample
		for _, name := range names {
			s = append(s, samples(runs[name], of))
		}
		return s
	}
	if c.Coverage {
		return judgeCoverage(samples(runs[c.More[0]], of), samples(runs[c.Less[0]], of))
	}
	var d Difference
	d.Mean, d.Interval, d.Seeds = summarise(contrast(arms(c.More), arms(c.Less)))
	d.Verdict = verdict(d.Interval, d.Seeds)
	return d
}

// verdict wants the interval and every seed on one side of 0.
func verdict(interval [2]float64, seeds []float64) Verdict {
	switch {
	case len(seeds) < 2:
		return CantTell
	case interval[0] > 0 && slices.Min(seeds) > 0:
		return Held
	case interval[1] < 0 && slices.Max(seeds) < 0:
		return Failed
	}
	return CantTell
}

// judgeCoverage wants all runs of one arm above all runs of the other.
func judgeCoverage(more, less []Sample) Difference {
	d := Difference{Verdict: CantTell}
	var a, b []float64
	for s := range more {
		a, b = append(a, more[s].Coverage), append(b, less[s].Coverage)
		d.Seeds = append(d.Seeds, round(a[s]-b[s]))
	}
	d.Mean = round(mean(d.Seeds))
	switch {
	case len(a) < 3:
	case slices.Min(a) > slices.Max(b):
		d.Verdict = Held
	case slices.Max(a) < slices.Min(b):
		d.Verdict = Failed
	}
	return d
}
