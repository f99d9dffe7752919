package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/evaluation"
	"github.com/ringleader-dev/ringleader/evaluation/reproduction"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/job"
)

// gridRun is one training of a grid.
type gridRun struct {
	name      string // of the first arm that wants it
	seed      uint64
	set       []string
	spec      job.Spec
	staleness []evaluation.Staleness
	result    *gridResult
}

// gridResult is what a finished run keeps in its directory.
type gridResult struct {
	Arm         string             `json:"arm"`
	Seed        uint64             `json:"seed"`
	StateDigest string             `json:"state_digest"`
	Seconds     float64            `json:"seconds"` // of the training, as far as it was not resumed
	Coverage    int                `json:"coverage_users"`
	Evaluation  *evaluation.Report `json:"evaluation"`
}

// resultName is the file that says that a run is finished.
const resultName = "result.json"

// jobs makes the job of every arm and seed, and finds those that are the same.
func (g *grid) jobs(ctx context.Context) error {
	known := map[string]*gridRun{}
	var errs []error
	for _, seed := range g.seeds { // seeds first: an interrupted grid has something to say about every arm
		for _, t := range g.tables {
			if g.of[t.Name] == nil {
				g.of[t.Name] = map[string][]*gridRun{}
			}
			for _, a := range t.Arms {
				set := append(slices.Clone(a.Set), fmt.Sprintf("what.seed=%d", seed))
				spec, err := g.load(ctx, set)
				if err != nil {
					errs = append(errs, fmt.Errorf("arm %s of %s: %w", a.Name, t.Name, err))
					continue
				}
				r := known[spec.What.Digest().String()]
				if r == nil {
					r = &gridRun{name: a.Name, seed: seed, set: set, spec: spec}
					known[spec.What.Digest().String()] = r
					g.runs = append(g.runs, r)
				}
				if s := evaluation.Staleness(a.Staleness); s != "" && !slices.Contains(r.staleness, s) {
					r.staleness = append(r.staleness, s)
				}
				g.of[t.Name][a.Name] = append(g.of[t.Name][a.Name], r)
			}
		}
		if len(errs) > 0 {
			return withCode(exitInput, errors.Join(errs...))
		}
	}
	return nil
}

// reproduce trains and evaluates what a table asks for.
func reproduce(ctx context.Context, o reproduceOptions, log io.Writer) (_ *reproduction.Report, err error) {
	g, err := o.plan(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := lockGrid(g.o.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	ds, closeData, err := openData(ctx, g.o.data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeData()) }()
	dev, err := cpu.Open(cpu.Options{Lanes: o.workers})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	lines := &gridLog{w: log, total: len(g.runs)}
	evaluate := func(ctx context.Context, r *gridRun, params []checkpoints.Tensor) (*evaluation.Report, error) {
		return evaluation.Run(ctx, evaluation.Options{Data: ds, Job: r.spec.What, Params: params, Device: dev, Threads: o.workers,
			SkipBaselines: true, Staleness: r.staleness, CoverageUsers: o.coverageUsers, PerUser: true})
	}
	all, some := errgroup.WithContext(ctx)
	all.SetLimit(o.parallel)
	for _, r := range g.runs {
		all.Go(func() error {
			if some.Err() != nil {
				return some.Err()
			}
			if err := g.run(some, r, evaluate, lines); err != nil {
				return fmt.Errorf("run %s: %w", r.dirName(), err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	baselines, err := g.baselines(ctx, ds)
	if err != nil {
		return nil, err
	}
	return g.report(baselines)
}

// lockGrid makes dir this process's, until unlock or its end: two would train in the same directories.
func lockGrid(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(withCode(exitInput, fmt.Errorf("--dir %s: another process uses it: %w", dir, err)), f.Close())
	}
	return f.Close, nil
}

// gridLog counts the runs.
type gridLog struct {
	mu          sync.Mutex
	w           io.Writer
	done, total int
}

func (l *gridLog) say(r *gridRun, finished bool, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if finished {
		l.done++
	}
	fmt.Fprintf(l.w, "%d/%d %s seed %d: %s\n", l.done, l.total, r.name, r.seed, fmt.Sprintf(format, args...))
}

func (r *gridRun) digest() string { return r.spec.What.Digest().String() }

func (r *gridRun) dirName() string { return fmt.Sprintf("%s-seed-%d-%s", r.name, r.seed, r.digest()) }

// place is the directory of a run: one that another arm has made for the same job, or its own.
func (g *grid) place(r *gridRun) (string, error) {
	runs := filepath.Join(g.o.dir, "runs")
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return "", withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	entries, err := os.ReadDir(runs)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-"+r.digest()) {
			return filepath.Join(runs, e.Name()), nil
		}
	}
	return filepath.Join(runs, r.dirName()), nil
}

type evaluator func(ctx context.Context, r *gridRun, params []checkpoints.Tensor) (*evaluation.Report, error)

// run brings one run to its end, from wherever it is.
func (g *grid) run(ctx context.Context, r *gridRun, evaluate evaluator, log *gridLog) error {
	dir, err := g.place(r)
	if err != nil {
		return err
	}
	if r.result, err = readResult(filepath.Join(dir, resultName)); err != nil {
		return err
	}
	if r.result != nil && r.result.Coverage == g.o.coverageUsers && r.result.has(r.staleness) {
		log.say(r, true, "is there")
		return nil
	}
	began := time.Now()
	from, st, err := g.train(ctx, r, dir)
	if err != nil {
		return err
	}
	trained := time.Since(began).Seconds()
	report, err := evaluate(ctx, r, st.Params)
	if err != nil {
		return err
	}
	r.result = &gridResult{Arm: r.name, Seed: r.seed, StateDigest: st.Digest().String(), Seconds: trained, Coverage: g.o.coverageUsers, Evaluation: report}
	if err := writeJSON(nil, filepath.Join(dir, resultName), r.result); err != nil {
		return err
	}
	log.say(r, true, "trained from step %d in %.1f s, evaluated in %.1f s: Recall@10 %.4f, new only %.4f", from, trained, time.Since(began).Seconds()-trained, report.RecallAt10, report.NewOnly.RecallAt10)
	return nil
}

func (x *gridResult) has(staleness []evaluation.Staleness) bool {
	for _, s := range staleness {
		if _, ok := x.Evaluation.PerUser[s]; !ok {
			return false
		}
	}
	return true
}

// readResult reads a finished run's result; nil if there is none yet.
func readResult(file string) (*gridResult, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var x gridResult
	if err := json.Unmarshal(text, &x); err != nil || x.Evaluation == nil {
		return nil, withCode(exitInput, fmt.Errorf("result %s: not one that this command wrote (%v); remove it to have the run evaluated again", file, err))
	}
	return &x, nil
}

// train runs the job in dir, from its newest checkpoint if there is one, and returns its last state and the step that it went on from.
func (g *grid) train(ctx context.Context, r *gridRun, dir string) (from ringleader.Step, _ *checkpoints.State, _ error) {
	o := localOptions{file: g.file, job: jobFlags{set: g.settings(r.set)}, dir: dir, coordinators: 1, workers: min(g.o.workers, r.spec.What.Shards)}
	if st, m, _, err := loadCheckpoint(ctx, dir, io.Discard); err == nil && m.Job == r.spec.What.Digest() {
		if st.Step == lastStep(r.spec) {
			return st.Step, st, nil
		}
		o.resume, from = dir, st.Step
	} else if ctx.Err() != nil {
		return 0, nil, ctx.Err()
	} else if err := os.RemoveAll(dir); err != nil { // it did not get as far as a checkpoint
		return 0, nil, err
	}
	if _, err := runLocal(ctx, o, newDisplay(io.Discard)); err != nil {
		return from, nil, err
	}
	st, _, _, err := loadCheckpoint(ctx, dir, io.Discard)
	return from, st, err
}

// baselines evaluates those of the data set, once.
func (g *grid) baselines(ctx context.Context, ds *dataset.Dataset) (map[string]evaluation.Result, error) {
	file := filepath.Join(g.o.dir, "baselines-"+g.meta.Digest[:16]+".json")
	var all map[string]evaluation.Result
	if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &all) == nil {
		return all, nil
	}
	all, err := evaluation.Baselines(ctx, evaluation.Options{Data: ds, Threads: g.o.workers, CoverageUsers: g.o.coverageUsers})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return all, atomicfile.WriteFile(file, append(text, '\n'), 0o644)
}
