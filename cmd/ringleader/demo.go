package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/evaluation"
	"github.com/ringleader-dev/ringleader/examples"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

// demoReport is what demo --json writes.
type demoReport struct {
	Faulted     *localReport       `json:"faulted"`
	Undisturbed *localReport       `json:"undisturbed"`
	Evaluation  *evaluation.Report `json:"evaluation"`
	Equal       bool               `json:"digests_equal"`
	Seconds     float64            `json:"seconds"`
	Error       string             `json:"error,omitempty"`
}

// The demo's cluster: as many processes as show what there is to show.
const (
	demoCoordinators = 3
	demoWorkers      = 3
)

// demoMarker marks a directory as the demo's own: only such a one is ever emptied.
const demoMarker = ".ringleader-demo"

func newDemo() *cobra.Command {
	var dir, jsonFile string
	var seed uint64
	var set []string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Train a small job on this machine, kill a worker and the leader on the way, and compare the bits",
		Long: "Imports a year of groceries that 2,456 households bought, trains PinnerFormer on them with 3 coordinators and 3 workers as separate\n" +
			"processes, kills a worker and the Raft leader, starts a replacement, evaluates, then trains the same job undisturbed on one worker.\n" +
			"Exits with an error if the two results differ in a bit, or if the model does not beat popularity.",
		Example: "  ringleader demo\n  ringleader demo --dir /tmp/demo --seed 3 --json demo.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := &demoReport{}
			out := cmd.OutOrStdout()
			if jsonFile == "-" {
				out = cmd.ErrOrStderr()
			}
			err := runDemo(cmd.Context(), demo{dir: dir, seed: seed, set: set, out: out, errs: cmd.ErrOrStderr()}, report)
			if jsonFile != "" {
				if err != nil {
					report.Error = err.Error()
				}
				err = errors.Join(err, writeJSON(cmd.OutOrStdout(), jsonFile, report))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "demo-run", "directory of the demo; one that an earlier demo made is emptied first")
	f.Uint64Var(&seed, "seed", 1, "seed of the job")
	f.StringArrayVar(&set, "set", nil, "override a field of the job file (repeatable)")
	f.StringVar(&jsonFile, "json", "", "write the report to this file; - is standard output")
	return cmd
}

type demo struct {
	dir       string
	seed      uint64
	set       []string
	out, errs io.Writer
}

func runDemo(ctx context.Context, d demo, report *demoReport) (err error) {
	began := time.Now()
	if d.dir, err = claimDemo(d.dir); err != nil {
		return err
	}
	d.say("importing the shipped data set into %s", filepath.Join(d.dir, "data"))
	if err := d.importData(ctx); err != nil {
		return err
	}
	jobFile := filepath.Join(d.dir, "retail.yaml")
	if err := atomicfile.WriteFile(jobFile, examples.Retail, 0o644); err != nil {
		return err
	}
	o := localOptions{file: jobFile, job: jobFlags{set: append([]string{"what.data=" + filepath.Join(d.dir, "data"), fmt.Sprintf("what.seed=%d", d.seed)}, d.set...)}}
	spec, _, err := o.job.load(ctx, jobFile)
	if err != nil {
		return err
	}
	third := int64(lastStep(spec)) / 3

	d.say("training on %d workers and %d coordinators; a worker will be killed at step %d, the leader at step %d", demoWorkers, demoCoordinators, third, 2*third)
	faulted := o
	faulted.dir, faulted.coordinators, faulted.workers = filepath.Join(d.dir, "faulted"), demoCoordinators, demoWorkers
	faulted.faults = []string{
		fmt.Sprintf("kill:worker:1@%d", third),
		fmt.Sprintf("join:worker@%d", third+max(third/4, 1)),
		fmt.Sprintf("kill:leader@%d", 2*third),
	}
	if report.Faulted, err = runLocal(ctx, faulted, newDisplay(d.errs)); err != nil {
		return err
	}
	d.say("evaluating %s", report.Faulted.Checkpoint)
	if report.Evaluation, err = evaluateCheckpoint(ctx, report.Faulted.Checkpoint, filepath.Join(d.dir, "data"), d.errs); err != nil {
		return err
	}
	d.say("training the same job again, undisturbed, on one worker")
	undisturbed := o
	undisturbed.dir, undisturbed.coordinators, undisturbed.workers = filepath.Join(d.dir, "undisturbed"), 1, 1
	if report.Undisturbed, err = runLocal(ctx, undisturbed, newDisplay(d.errs)); err != nil {
		return err
	}
	report.Equal = report.Faulted.StateDigest == report.Undisturbed.StateDigest
	report.Seconds = time.Since(began).Seconds()
	if err := d.summary(report); err != nil {
		return err
	}
	return verdict(report)
}

func (d demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n== "+format+"\n", args...) }

// verdict is what the demo's exit code says.
func verdict(r *demoReport) error {
	if !r.Equal {
		return fmt.Errorf("state digests differ: %s with faults, %s undisturbed", r.Faulted.StateDigest, r.Undisturbed.StateDigest)
	}
	if p := r.Evaluation.Baselines["popular"].RecallAt10; r.Evaluation.RecallAt10 <= p {
		return fmt.Errorf("the model's Recall@10 %.4f does not beat popularity's %.4f", r.Evaluation.RecallAt10, p)
	}
	return nil
}

// summary prints what the demo showed.
func (d demo) summary(r *demoReport) error {
	d.say("summary")
	if err := r.Evaluation.Text(d.out); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nstate digest after %d steps\n  %d workers, killed and joined   %s\n  1 worker, undisturbed          %s   %s\n",
		r.Faulted.Steps, demoWorkers, r.Faulted.StateDigest, r.Undisturbed.StateDigest, map[bool]string{true: "equal, bit for bit", false: "DIFFERENT"}[r.Equal])
	fmt.Fprintf(d.out, "\nwhat the faults cost\n")
	for _, f := range r.Faulted.Faults {
		if f.RecoverySeconds != nil {
			fmt.Fprintf(d.out, "  %-22s %6.2f s to the next completed step\n", f.Fault, *f.RecoverySeconds)
		}
	}
	_, err := fmt.Fprintf(d.out, "\nthe checkpoint is in %s; open it with\n  %s checkpoint show %s\n%.0f s in all\n",
		r.Faulted.Checkpoint, os.Args[0], r.Faulted.Checkpoint, r.Seconds)
	return err
}

// claimDemo makes the demo's directory, emptying one that an earlier demo made.
func claimDemo(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	marker := filepath.Join(dir, demoMarker)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	if len(entries) > 0 {
		if _, err := os.Stat(marker); err != nil {
			return "", withCode(exitInput, fmt.Errorf("--dir %s: not empty and not made by a demo; allowed: an empty or new directory", dir))
		}
		for _, e := range entries {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return "", err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	return dir, atomicfile.WriteFile(marker, nil, 0o644)
}
