package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/job"
)

// localOptions are the flags of ringleader local.
type localOptions struct {
	job          jobFlags
	file         string
	dir          string
	coordinators int
	workers      int
	faults       []string
	stopAt       int64
	resume       string
	fork         bool
	json         string

	lenient   bool          // a fault that finds nothing to strike is no error
	server    *chaosServer  // that holds store; nil: the store is the job's, or in the directory
	store     string        // URL
	heartbeat time.Duration // of Raft; 0: the default
}

// localReport is what --json writes.
type localReport struct {
	Steps       ringleader.Step    `json:"steps"`
	FinalLoss   float64            `json:"final_loss"`
	Widened     int64              `json:"widened_steps,omitempty"` // that took a second pass: what.reduction exact32 and exact16
	StateDigest string             `json:"state_digest"`
	Checkpoint  string             `json:"checkpoint"`
	Generations []generationReport `json:"generations"`
	Seconds     float64            `json:"seconds"`
	UsersPerS   float64            `json:"users_per_s"`
	Faults      []*faultReport     `json:"faults"`
	Losses      string             `json:"losses,omitempty"` // file with the loss of each step
	Notes       []string           `json:"notes,omitempty"`  // features that are off because the data set has no column for them
	Error       string             `json:"error,omitempty"`

	ports    []string        // of the coordinators
	stubborn []string        // processes that did not end when they were told
	damaged  map[string]bool // checkpoints that faults spoiled
}

type generationReport struct {
	Number    uint64   `json:"number"`
	Members   []string `json:"members"`
	FirstStep int64    `json:"first_step"`
	Reason    string   `json:"reason"`
	AtSeconds float64  `json:"at_s"` // when it was made, since the job was submitted
}

func newLocal() *cobra.Command {
	var o localOptions
	cmd := &cobra.Command{
		Use:   "local",
		Short: "Run one job to its end on a cluster of child processes on this machine",
		Long: "Starts coordinators and workers as child processes on loopback, runs one job to its end, stops everything, and leaves the run\n" +
			"(checkpoints in DIR/store, unless the job has a how.store; logs in DIR/logs, the loss of each step in DIR/loss.csv, its speed and generations in DIR/report.html) in DIR. Faults strike when a step is complete; workers wait there until they have:\n" + faultHelp(faultTable),
		Example: "  ringleader local --job examples/retail.yaml --dir run --workers 3 --fault kill:worker:1@20 --fault join:worker@40\n" +
			"  ringleader local --job examples/retail.yaml --dir half --workers 3 --stop-at 30\n" +
			"  ringleader local --job examples/retail.yaml --dir rest --workers 2 --resume half",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := runLocal(cmd.Context(), o, newDisplay(cmd.ErrOrStderr()))
			if err == nil && o.json != "-" {
				printLocal(cmd.OutOrStdout(), report)
			}
			return errors.Join(err, writeReport(cmd.OutOrStdout(), o.json, report, err))
		},
	}
	f := cmd.Flags()
	o.job.register(cmd)
	f.StringVar(&o.file, "job", "", "job file (required)")
	f.StringVar(&o.dir, "dir", "", "directory of the run (required); must be empty or not exist, unless --resume names it")
	f.IntVar(&o.coordinators, "coordinators", 1, "coordinators to start: 1, 3 or 5")
	f.IntVar(&o.workers, "workers", 1, "workers to start")
	f.StringArrayVar(&o.faults, "fault", nil, "fault to inject (repeatable): "+faultForms())
	f.Int64Var(&o.stopAt, "stop-at", 0, "end cleanly, with a checkpoint, after this step")
	f.StringVar(&o.resume, "resume", "", "continue from a run's newest good checkpoint, or from one step directory")
	f.BoolVar(&o.fork, "fork", false, "resume although the job's \"what\" differs from the checkpoint's")
	f.StringVar(&o.json, "json", "", "write the report to this file; - is standard output")
	must(cmd.MarkFlagRequired("job"))
	must(cmd.MarkFlagRequired("dir"))
	return cmd
}

// runLocal runs one job. The report is whole on success and says what there was to say otherwise; it is never nil.
func runLocal(ctx context.Context, o localOptions, show display) (*localReport, error) {
	report := &localReport{Generations: []generationReport{}, Faults: []*faultReport{}, damaged: map[string]bool{}}
	plan, err := o.prepare(ctx)
	if err != nil {
		return report, err
	}
	report.Notes = plan.notes
	dir, err := claimDir(o.dir, o.resume, plan.forked)
	if err != nil {
		return report, err
	}
	if err := plan.checkStore(ctx); err != nil { // which may be in the directory, and would have made it look occupied
		return report, err
	}
	if plan.spec.How.Store == "" {
		plan.spec.How.Store = filepath.Join(dir, runStore)
	}
	spec, err := job.Canonical(plan.spec)
	if err != nil {
		return report, err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, runJob), append(spec, '\n'), 0o644); err != nil {
		return report, err
	}
	c, err := newCluster(filepath.Join(dir, "cluster"), filepath.Join(dir, "logs"))
	if err != nil {
		return report, err
	}
	losses, err := openLossLog(dir)
	if err != nil {
		return report, errors.Join(err, c.stop())
	}
	report.Losses = losses.file.Name()
	c.heartbeat, c.troubled = o.heartbeat, slices.ContainsFunc(plan.faults, fault.troubling)
	r := &localRun{plan: plan, spec: spec, cluster: c, show: show, report: report, losses: losses, lenient: o.lenient, server: o.server}
	err = r.run(ctx, o)
	report.ports = c.addresses
	for _, lost := range []error{losses.close(), writeRunReport(dir, report, &r.trace)} {
		if lost != nil {
			show.Note(lost.Error()) // the run is what it is without them
		}
	}
	show.Done()
	err = errors.Join(err, c.stop())
	for _, ch := range slices.Concat(c.workers, c.coordinators) {
		if ch.stubborn {
			report.stubborn = append(report.stubborn, ch.name)
		}
	}
	return report, err
}

// localPlan is a local run that has been checked as far as it can be before anything is started.
type localPlan struct {
	spec       job.Spec
	faults     []fault
	resumeURL  string
	resumeStep ringleader.Step
	forked     bool // the checkpoint is another job's
	notes      []string
}

func (o *localOptions) prepare(ctx context.Context) (*localPlan, error) {
	if o.coordinators != 1 && o.coordinators != 3 && o.coordinators != 5 {
		return nil, withCode(exitUsage, fmt.Errorf("--coordinators %d: allowed: 1, 3, 5", o.coordinators))
	}
	faults, err := parseFaults(o.faults)
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	spec, m, err := o.job.load(ctx, o.file)
	if err != nil {
		return nil, err
	}
	if o.server != nil {
		spec.How.Store = o.store
	} else if i := slices.IndexFunc(faults, func(f fault) bool { return f.on == onServer }); i >= 0 {
		return nil, withCode(exitUsage, fmt.Errorf("--fault %q: the run has no S3 server of its own; ringleader chaos --store s3 has one", faults[i].spec))
	}
	if o.workers < 1 || o.workers > spec.What.Shards {
		return nil, withCode(exitUsage, fmt.Errorf("--workers %d for what.shards %d: allowed: 1..%d", o.workers, spec.What.Shards, spec.What.Shards))
	}
	spec.How.Workers = job.Workers{Min: 1, Max: min(o.workers+joins(faults), spec.What.Shards)}
	if o.stopAt < 0 {
		return nil, withCode(exitUsage, fmt.Errorf("--stop-at %d: allowed: at least 1", o.stopAt))
	}
	if o.stopAt > 0 {
		spec.How.StopAt = o.stopAt
	}
	p := &localPlan{spec: spec, faults: faults, notes: m.Notes()}
	if last := lastStep(spec); last > 0 {
		if err := checkFaults(faults, o.workers, last); err != nil {
			return nil, withCode(exitUsage, err)
		}
	}
	return p, p.resumeFrom(ctx, o.resume, o.fork)
}

// checkStore makes one attempt at writing to the store that the job names, and wants it to be this job's.
func (p *localPlan) checkStore(ctx context.Context) error {
	how := p.spec.How
	if how.Store == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(how.Deadlines.Store))
	defer cancel()
	err := probeStore(ctx, how.Store)
	if err == nil {
		err = checkOwner(ctx, how.Store, p.spec.What.Digest())
	}
	if err != nil {
		return fmt.Errorf("how.store %s: %w", how.Store, err)
	}
	return nil
}

// checkStoreFromAfar is checkStore for a job that others will train: only workers need to reach the store.
func (p *localPlan) checkStoreFromAfar(ctx context.Context, warn io.Writer) error {
	how := p.spec.How
	limited, cancel := context.WithTimeout(ctx, time.Duration(how.Deadlines.Store))
	defer cancel()
	err := checkOwner(limited, how.Store, p.spec.What.Digest())
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(*foreignError)), ctx.Err() != nil:
		return fmt.Errorf("how.store %s: %w", how.Store, err)
	}
	printNotes(warn, []string{fmt.Sprintf("how.store %s cannot be read from here: %v", how.Store, err)})
	return nil
}

// lastStep is the step at which the run ends; 0 if only the data tells.
func lastStep(s job.Spec) ringleader.Step {
	switch steps, stop := s.What.Steps, s.How.StopAt; {
	case stop > 0 && (steps == 0 || stop < steps):
		return ringleader.Step(stop)
	default:
		return ringleader.Step(steps)
	}
}

// resumeFrom finds the checkpoint to start from and refuses one of another job.
func (p *localPlan) resumeFrom(ctx context.Context, where string, fork bool) error {
	if where == "" {
		return nil
	}
	st, m, url, err := loadCheckpoint(ctx, where, os.Stderr)
	if err != nil {
		return fmt.Errorf("--resume %s: %w", where, err)
	}
	if want := p.spec.What.Digest(); m.Job != want && !fork {
		return withCode(exitInput, fmt.Errorf("--resume %s: its job digest is %s, this job's is %s: another \"what\" needs --fork", where, m.Job, want))
	}
	if last := lastStep(p.spec); last > 0 && st.Step > last {
		return withCode(exitInput, fmt.Errorf("--resume %s: it is at step %d, the job ends at %d", where, st.Step, last))
	}
	for _, f := range p.faults {
		if f.step <= st.Step {
			return withCode(exitUsage, fmt.Errorf("--fault %q: the run resumes at step %d", f.spec, st.Step))
		}
	}
	p.resumeURL, p.resumeStep, p.forked = url, st.Step, m.Job != p.spec.What.Digest()
	return nil
}

// claimDir creates the run's directory. One that has something in it belongs to another run, unless that is the one to resume; then its
// checkpoints must stay those of one job.
func claimDir(dir, resume string, forked bool) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", withCode(exitInput, fmt.Errorf("--dir: %w", err))
	}
	switch {
	case len(entries) == 0:
		return dir, nil
	case !within(resume, dir):
		return "", withCode(exitInput, fmt.Errorf("--dir %s: not empty; allowed: an empty or new directory, or the one that --resume names", dir))
	case forked:
		return "", withCode(exitInput, fmt.Errorf("--dir %s: has the checkpoints of another job; allowed with --fork: an empty or new directory", dir))
	}
	return dir, nil
}

// within tells whether a run or checkpoint is in a directory.
func within(where, dir string) bool {
	if where == "" || !isLocal(where) {
		return false
	}
	path, err := localPath(where)
	return err == nil && (path == dir || strings.HasPrefix(path, dir+string(filepath.Separator)))
}

// writeReport writes the JSON report, on failure too.
func writeReport(stdout io.Writer, where string, report *localReport, failure error) error {
	if where == "" {
		return nil
	}
	if failure != nil {
		report.Error = failure.Error()
	}
	return writeJSON(stdout, where, report)
}

// writeJSON writes one object to a file, or to standard output for "-".
func writeJSON(stdout io.Writer, where string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if where == "-" {
		_, err := stdout.Write(b)
		return err
	}
	if err := atomicfile.WriteFile(where, b, 0o644); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return nil
}

func printLocal(w io.Writer, r *localReport) {
	fmt.Fprintf(w, "steps         %d\nfinal loss    %.6f\nstate digest  %s\ncheckpoint    %s\n", r.Steps, r.FinalLoss, r.StateDigest, r.Checkpoint)
	for _, g := range r.Generations {
		fmt.Fprintf(w, "generation %-2d from step %d on %d workers: %s\n", g.Number, g.FirstStep, len(g.Members), g.Reason)
	}
	for _, f := range r.Faults {
		if f.RecoverySeconds != nil {
			fmt.Fprintf(w, "%-22s %.2f s\n", f.Fault, *f.RecoverySeconds)
		}
	}
	fmt.Fprintf(w, "%.1f s, %.0f users/s\n", r.Seconds, r.UsersPerS)
	printNotes(w, r.Notes)
}
