// Package reproduction compares trainings with the tables of the paper: what each table varies, the values that were published, and whether the order
// that they show was found again. It is data and arithmetic; cmd/ringleader does the training.
//
// # What is compared
//
// Absolute values of another data set mean nothing, so that what is reproduced is the order: every pair of arms whose published values differ is a claim.
// All arms of a table have the same steps, users a step, negatives and seeds. An arm is the base job with some fields set.
//
// # What an interval is
//
// An arm was trained with several seeds, and every run was evaluated on the same users. A resample draws users and, independently, seeds, both with
// replacement, and takes the mean; the interval goes from the 2.5th to the 97.5th percentile of 1000 resamples. A difference between arms is resampled as
// such: the same users and the same seeds for both. Resampling a few seeds shows too little of their spread (two thirds of the variance for three), so
// the seeds' means are spread by sqrt(n/(n-1)) about their own mean before.
//
// # Verdicts
//
// A claim held if its interval is above 0 and its difference is positive with every seed; it did not hold if the same is true below 0; otherwise it
// cannot be told, as with fewer than two seeds. Nothing corrects for the number of claims: of 20 claims about arms that are equal, one or so
// would be said to have held or not to have held by chance, less the few that the seeds disagree on.
//
// Coverage is a figure of a run and has no users. A claim about it held if every run of one arm is above every run of the other, which by chance happens
// to three seeds once in 20 times; with fewer seeds it cannot be told.
package reproduction

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader/job"
)

// Table is one of the paper's, as it is run here.
type Table struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	Note    string  `json:"note"`    // what differs from the paper's
	Arms    []Arm   `json:"arms"`    // in the paper's order
	Claims  []Claim `json:"claims"`  // the largest published difference first
	Skipped []Skip  `json:"skipped"` // arms that the data set cannot have
}

// Arm is one way to train, or to use what was trained.
type Arm struct {
	Name      string   `json:"name"`
	Set       []string `json:"set"`                 // assignments on top of the base job
	Paper     *Value   `json:"paper,omitempty"`     // nil: not in the paper
	Staleness string   `json:"staleness,omitempty"` // daily or realtime; empty: once
}

// Value is what the paper reports.
type Value struct {
	Recall   float64 `json:"recall_at_10"`
	Coverage float64 `json:"coverage,omitempty"` // 0: not reported
}

// Skip is an arm that is left out, and why.
type Skip struct {
	Arm string `json:"arm"`
	Why string `json:"why"`
}

// Claim says that a sum of arms is more than another one.
type Claim struct {
	Text     string   `json:"text"`
	More     []string `json:"more"`
	Less     []string `json:"less"`
	Paper    float64  `json:"paper,omitempty"` // the published difference; 0: only the order was published, or it is ours
	Ours     bool     `json:"ours,omitempty"`  // a question asked here, not a claim of the paper
	Coverage bool     `json:"coverage,omitempty"`
}

// Columns says which optional columns a data set has.
type Columns struct{ Surface, Duration bool }

// builders are the tables, in the order in which they are run.
var builders = []struct {
	name  string
	build func(base *job.What, has Columns) Table
}{
	{"objectives", objectives}, {"negatives", negatives}, {"features", features}, {"staleness", staleness}, {"capacity", capacity},
}

// All is the name that asks for every table.
const All = "all"

// Names are the tables there are, and All.
func Names() []string {
	var names []string
	for _, b := range builders {
		names = append(names, b.name)
	}
	return append(names, All)
}

// Known refuses names that are no tables': one, or several separated by commas.
func Known(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("table %q: allowed: %s, or several separated by commas", name, strings.Join(Names(), ", "))
		}
	}
	return nil
}

// Tables are those of some names, for a complete base job on a data set with these columns.
func Tables(names string, base *job.What, has Columns) ([]Table, error) {
	if err := Known(names); err != nil {
		return nil, err
	}
	wanted := strings.Split(names, ",")
	var tables []Table
	for _, b := range builders {
		if !slices.Contains(wanted, b.name) && !slices.Contains(wanted, All) {
			continue
		}
		t := b.build(base, has)
		t.Name = b.name
		t.Claims = slices.Concat(published(t.Arms), t.Claims)
		tables = append(tables, t)
	}
	return tables, nil
}

// Only leaves out all arms but some, and the claims about others.
func (t *Table) Only(arms []string) error {
	for _, name := range arms {
		if t.arm(name) == nil {
			return fmt.Errorf("arm %q of table %s: allowed: %s", name, t.Name, strings.Join(t.armNames(), ", "))
		}
	}
	gone := func(name string) bool { return !slices.Contains(arms, name) }
	t.Arms = slices.DeleteFunc(t.Arms, func(a Arm) bool { return gone(a.Name) })
	t.Claims = slices.DeleteFunc(t.Claims, func(c Claim) bool { return slices.ContainsFunc(slices.Concat(c.More, c.Less), gone) })
	return nil
}

func (t *Table) arm(name string) *Arm {
	for i := range t.Arms {
		if t.Arms[i].Name == name {
			return &t.Arms[i]
		}
	}
	return nil
}

func (t *Table) armNames() []string {
	var names []string
	for _, a := range t.Arms {
		names = append(names, a.Name)
	}
	return names
}
