package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/evaluation/reproduction"
	"github.com/ringleader-dev/ringleader/examples"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/job"
)

// reproduceOptions are the flags of ringleader reproduce.
type reproduceOptions struct {
	table         string
	job           jobFlags
	file          string
	data          string
	dir           string
	seeds         int
	steps         int64
	workers       int
	parallel      int
	coverageUsers int
	arms          []string
	report        string
	json          string
}

// defaultCoverageUsers is the evaluation's own bound.
const defaultCoverageUsers = 4096

func newReproduce() *cobra.Command {
	var o reproduceOptions
	cmd := &cobra.Command{
		Use:   "reproduce TABLE",
		Short: "Train the arms of one of the paper's tables with equal budgets, and say which of its orderings hold",
		Long: "TABLE is " + strings.Join(reproduction.Names(), ", ") + ", or several, separated by commas. Every arm\n" +
			"is a job of its own: the base job with some fields set, trained like \"ringleader local\" with each seed, and evaluated on the users that never\n" +
			"train. Jobs that several arms or tables have in common are trained once. Runs that are finished in DIR are used again and interrupted ones go\n" +
			"on, so that the same command continues where it was stopped.",
		Example: "  ringleader reproduce objectives --data demo-run/data --dir grid\n" +
			"  ringleader reproduce all --data kuairand-data --job examples/kuairand.yaml --steps 120 --seeds 5 --dir grid --json grid.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("reproduce wants one TABLE: allowed: %s", strings.Join(reproduction.Names(), ", "))
			}
			return reproduction.Known(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.table = args[0]
			report, err := reproduce(cmd.Context(), o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return o.write(cmd, report)
		},
	}
	f := cmd.Flags()
	o.job.register(cmd)
	f.StringVar(&o.data, "data", "", "data set (required)")
	f.StringVar(&o.file, "job", "", "base job file; default: the example of the data set, if it has one, otherwise a small job")
	f.StringVar(&o.dir, "dir", "", "directory of the runs (required); one that was used before is continued")
	f.IntVar(&o.seeds, "seeds", 3, "trainings of each arm, with the base job's seed and the ones after it")
	f.Int64Var(&o.steps, "steps", 0, "steps of every run; 0: the base job's")
	f.IntVar(&o.workers, "workers", 1, "workers of a run, and threads of an evaluation")
	f.IntVar(&o.parallel, "parallel", 1, "runs at a time")
	f.IntVar(&o.coverageUsers, "coverage-users", defaultCoverageUsers, "users that coverage is taken over, at most; the evaluated ones always are. Fewer are evaluated faster")
	f.StringSliceVar(&o.arms, "arms", nil, "only these arms of the table, comma separated")
	f.StringVar(&o.report, "report", "", "write the report to this file too (Markdown)")
	f.StringVar(&o.json, "json", "", "write the report to this file; - is standard output")
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("dir"))
	return cmd
}

// write shows the report and writes it where it is wanted.
func (o *reproduceOptions) write(cmd *cobra.Command, report *reproduction.Report) error {
	var text bytes.Buffer
	if err := report.Markdown(&text); err != nil {
		return err
	}
	if o.report != "" {
		if err := atomicfile.WriteFile(o.report, text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	if o.json != "" {
		if err := writeJSON(cmd.OutOrStdout(), o.json, report); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if o.json == "-" {
		return nil
	}
	_, err := cmd.OutOrStdout().Write(text.Bytes())
	return err
}

// grid is what is to be trained, checked as far as it can be before anything is.
type grid struct {
	o      reproduceOptions
	meta   dataset.Meta
	tables []reproduction.Table
	seeds  []uint64
	base   job.Spec
	file   string                           // the base job
	runs   []*gridRun                       // each job once
	of     map[string]map[string][]*gridRun // table, arm: one for each seed
}

// plan reads the data set's description and the base job, and makes every arm's job.
func (o reproduceOptions) plan(ctx context.Context) (*grid, error) {
	for _, x := range []struct {
		flag        string
		value, most int
	}{{"--seeds", o.seeds, 1000}, {"--workers", o.workers, 1 << 12}, {"--parallel", o.parallel, 1 << 10}, {"--coverage-users", o.coverageUsers, 1 << 30}} {
		if x.value < 1 || x.value > x.most {
			return nil, withCode(exitUsage, fmt.Errorf("%s %d: allowed: 1..%d", x.flag, x.value, x.most))
		}
	}
	if o.steps < 0 {
		return nil, withCode(exitUsage, fmt.Errorf("--steps %d: allowed: at least 1, or 0 for the base job's", o.steps))
	}
	g := &grid{o: o, of: map[string]map[string][]*gridRun{}}
	var err error
	if g.o.dir, err = filepath.Abs(o.dir); err != nil {
		return nil, err
	}
	if g.o.data, err = absolute(o.data); err != nil {
		return nil, err
	}
	if g.meta, err = readMeta(ctx, g.o.data); err != nil {
		return nil, fmt.Errorf("--data %s: %w", o.data, err)
	}
	if err := g.baseJob(ctx); err != nil {
		return nil, err
	}
	has := reproduction.Columns{Surface: len(g.meta.Surfaces) > 0, Duration: g.meta.Durations}
	if g.tables, err = reproduction.Tables(o.table, &g.base.What, has); err != nil {
		return nil, withCode(exitUsage, err)
	}
	if len(o.arms) > 0 {
		if len(g.tables) > 1 {
			return nil, withCode(exitUsage, fmt.Errorf("--arms %s: want one table, not %s", strings.Join(o.arms, ","), o.table))
		}
		if err := g.tables[0].Only(o.arms); err != nil {
			return nil, withCode(exitUsage, fmt.Errorf("--arms: %w", err))
		}
	}
	for i := range o.seeds {
		g.seeds = append(g.seeds, g.base.What.Seed+uint64(i))
	}
	return g, g.jobs(ctx)
}

// absolute is a place that means the same in every directory.
func absolute(where string) (string, error) {
	if strings.Contains(where, "://") {
		return where, nil
	}
	return filepath.Abs(where)
}

func readMeta(ctx context.Context, url string) (dataset.Meta, error) {
	store, err := openStore(ctx, url)
	if err != nil {
		return dataset.Meta{}, err
	}
	defer store.Close()
	meta, err := dataset.ReadMeta(ctx, store)
	return meta, storeError(err)
}

// plainJob is the base where neither the command nor the examples have one.
const plainJob = "name: reproduce\nwhat:\n  seed: 1\n  shards: 4\n  users_per_shard: 16\n  steps: 200\n  model: {preset: small, window: 32}\n"

// baseJob finds the base job. One that comes from the program is written to the directory, so that there is a file to look at and to run again.
func (g *grid) baseJob(ctx context.Context) (err error) {
	if g.file = g.o.file; g.file == "" {
		name, text, ok := examples.Job(g.meta.Name)
		if !ok {
			name, text = "base.yaml", []byte(plainJob)
		}
		if err := os.MkdirAll(g.o.dir, 0o755); err != nil {
			return withCode(exitInput, fmt.Errorf("--dir: %w", err))
		}
		g.file = filepath.Join(g.o.dir, name)
		if err := atomicfile.WriteFile(g.file, text, 0o644); err != nil {
			return fmt.Errorf("--dir: %w", err)
		}
	}
	g.base, err = g.load(ctx, nil)
	if err == nil && g.base.How.Store != "" {
		err = withCode(exitInput, fmt.Errorf("job file %s: how.store is %s; want none: every run keeps its checkpoints in a directory of its own", g.file, g.base.How.Store))
	}
	return err
}

// settings are the assignments that make a run's job of the base job, the arm's last.
func (g *grid) settings(arm []string) []string {
	set := append([]string{"what.data=" + g.o.data}, g.o.job.set...)
	if g.o.steps > 0 {
		set = append(set, "what.epochs=0", fmt.Sprintf("what.steps=%d", g.o.steps))
	}
	return append(append(set, "how.stop_at=0", "how.checkpoint.keep=1"), arm...)
}

func (g *grid) load(ctx context.Context, arm []string) (job.Spec, error) {
	flags := jobFlags{set: g.settings(arm)}
	spec, _, err := flags.load(ctx, g.file)
	return spec, err
}
