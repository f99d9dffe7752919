package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/evaluation"
	"github.com/ringleader-dev/ringleader/evaluation/reproduction"
)

// report judges what the runs reached.
func (g *grid) report(baselines map[string]evaluation.Result) (*reproduction.Report, error) {
	first := g.runs[0].result.Evaluation
	r := &reproduction.Report{
		Data: g.meta.Name, Digest: g.meta.Digest, Items: g.meta.Items, Users: first.Users, NewUsers: first.NewOnly.Users, Seeds: g.seeds,
		Window:  fmt.Sprintf("in the %g days after %s", g.meta.EvalDays, time.UnixMilli(g.meta.CutMS).UTC().Format(time.DateTime)),
		Budget:  g.budget(),
		Command: g.command(),
	}
	for _, name := range slices.Sorted(maps.Keys(baselines)) {
		b := baselines[name]
		r.Baseline = append(r.Baseline, reproduction.Baseline{Name: name, All: b.RecallAt10, AllRange: b.Interval, New: b.NewOnly.RecallAt10, NewRange: b.NewOnly.Interval})
	}
	for _, t := range g.tables {
		runs := map[string][]reproduction.Run{}
		for _, a := range t.Arms {
			for _, run := range g.of[t.Name][a.Name] {
				runs[a.Name] = append(runs[a.Name], run.sample(evaluation.Staleness(a.Staleness)))
			}
		}
		o, err := reproduction.Judge(t, runs)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		r.Tables = append(r.Tables, o)
	}
	return r, nil
}

// sample is what a run reached with embeddings of some staleness.
func (r *gridRun) sample(s evaluation.Staleness) reproduction.Run {
	if s == "" {
		s = evaluation.Once
	}
	e := r.result.Evaluation
	users := e.PerUser[s]
	return reproduction.Run{
		Seed: r.seed,
		All:  reproduction.Sample{Recalls: users.All, Coverage: e.Coverage},
		New:  reproduction.Sample{Recalls: users.New, Coverage: e.NewOnly.Coverage},
	}
}

// budget is what all runs have in common.
func (g *grid) budget() string {
	w := &g.base.What
	length := fmt.Sprintf("%d steps", w.Steps)
	if w.Epochs > 0 {
		length = fmt.Sprintf("%d epochs", w.Epochs)
	}
	m := &w.Model
	return fmt.Sprintf("%s of %d shards x %d users, %d negatives a shard; the base is %s over %g days with newest_weight %s, window %d, %d layers of %d, lr %g; coverage is taken over the evaluated users, and others up to %d",
		length, w.Shards, w.UsersPerShard, w.Negatives.InBatch+w.Negatives.Random, w.Loss.Objective, w.Loss.HorizonDays, w.Loss.NewestWeight, m.Window, m.Layers, m.Width, w.Optimizer.LR, g.o.coverageUsers)
}

// command makes a table again, wherever the data and the runs lie.
func (g *grid) command() string {
	var b strings.Builder
	b.WriteString("ringleader reproduce %s --data DATA")
	if g.o.file != "" {
		fmt.Fprintf(&b, " --job %s", escaped(g.o.file))
	}
	for _, s := range g.o.job.set {
		fmt.Fprintf(&b, " --set %s", escaped(s))
	}
	if g.o.steps > 0 {
		fmt.Fprintf(&b, " --steps %d", g.o.steps)
	}
	if len(g.o.arms) > 0 {
		fmt.Fprintf(&b, " --arms %s", escaped(strings.Join(g.o.arms, ",")))
	}
	if g.o.coverageUsers != defaultCoverageUsers {
		fmt.Fprintf(&b, " --coverage-users %d", g.o.coverageUsers)
	}
	fmt.Fprintf(&b, " --seeds %d --dir DIR", g.o.seeds)
	return b.String()
}

// escaped survives being part of a format.
func escaped(s string) string { return strings.ReplaceAll(s, "%", "%%") }
