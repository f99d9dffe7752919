package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/job"
)

// recoveryOptions are the flags of ringleader bench recovery.
type recoveryOptions struct {
	fault                         string
	trials, workers, coordinators int
	seed                          uint64
	set                           []string
	json                          string
}

// recoveryFaults are what is measured.
var recoveryFaults = []string{"kill", "hang", "partition", "leader", "join", "drain"}

// recoveryReport is what one kind of fault costs. Times are in seconds.
type recoveryReport struct {
	Fault        string  `json:"fault"`
	Trials       int     `json:"trials"`
	Workers      int     `json:"workers"` // before the fault
	Coordinators int     `json:"coordinators"`
	Parameters   int     `json:"parameters"`
	Hang         float64 `json:"hang_s"` // the deadline after which a member counts as hung
	StepMedian   float64 `json:"step_s"` // between completed steps, undisturbed
	StepMax      float64 `json:"step_max_s"`
	StepGrown    float64 `json:"step_grown_s,omitempty"` // join: of the gang with the joiner
	// The time of a trial: kill, hang and partition from the signal until all survivors have completed a step of the next generation; leader, join
	// and drain the longest time between two completed steps from the signal on.
	Median  float64         `json:"median_s"`
	Min     float64         `json:"min_s"`
	Max     float64         `json:"max_s"`
	Parts   *recoveryParts  `json:"parts,omitempty"` // medians; absent for leader: there is no new generation
	Samples []float64       `json:"samples_s"`
	Each    []recoveryParts `json:"parts_of_samples,omitempty"`
}

// recoveryParts is where the time goes: until the last survivor has left the generation, until the last member has heard of the next one, until its
// ring stands with the state in all members, and the step that follows.
type recoveryParts struct {
	Detection float64 `json:"detection_s"`
	Decision  float64 `json:"decision_s"`
	Transfer  float64 `json:"transfer_s"`
	Redone    float64 `json:"redone_s"`
}

func benchRecovery() *cobra.Command {
	var o recoveryOptions
	var flags jobFlags
	cmd := &cobra.Command{
		Use:   "recovery",
		Short: "Time what faults and changes of the gang cost a running job",
		Long: "Starts coordinators and workers as child processes on loopback, with default settings, trains a model of 4 million parameters on synthetic\n" +
			"data, and strikes at random moments of a step:\n" +
			"  kill       SIGKILL of a worker; another is started before the next trial\n" +
			"  hang       SIGSTOP of a worker, until the others have gone on\n" +
			"  partition  a worker's connections to all others and to the coordinators fall silent, until the others have gone on\n" +
			"  leader     SIGKILL of the leading coordinator; it is started again before the next trial\n" +
			"  join       a worker is started\n" +
			"  drain      a worker is told to leave, as by SIGTERM\n" +
			"The report says how long a trial took, and where that went.",
		Example: "  ringleader bench recovery --fault kill --trials 20 --json kill.json\n  ringleader bench recovery --fault all --trials 5",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.set = flags.set
			if err := o.check(); err != nil {
				return withCode(exitUsage, err)
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.fault, "fault", "kill", "what is measured: "+strings.Join(recoveryFaults, ", ")+", or all")
	f.IntVar(&o.trials, "trials", 5, "how often")
	f.IntVar(&o.workers, "workers", 2, "workers of the gang, before the fault")
	f.IntVar(&o.coordinators, "coordinators", 3, "coordinators: 1, 3 or 5")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the moments and victims")
	f.StringVar(&o.json, "json", "", "write the report to this file; - is standard output")
	flags.register(cmd)
	return cmd
}

func (o *recoveryOptions) check() error {
	switch {
	case o.fault != "all" && !slices.Contains(recoveryFaults, o.fault):
		return fmt.Errorf("--fault %q: allowed: %s, all", o.fault, strings.Join(recoveryFaults, ", "))
	case o.trials < 1 || o.trials > 10_000:
		return fmt.Errorf("--trials %d: allowed: 1 to 10000", o.trials)
	case o.workers < 2 || o.workers > 16:
		return fmt.Errorf("--workers %d: allowed: 2 to 16", o.workers)
	case !slices.Contains([]int{1, 3, 5}, o.coordinators):
		return fmt.Errorf("--coordinators %d: allowed: 1, 3, 5", o.coordinators)
	case o.coordinators == 1 && (o.fault == "leader" || o.fault == "all"):
		return fmt.Errorf("--coordinators 1 with --fault %s: nobody could take over; allowed: 3, 5", o.fault)
	}
	return nil
}

// faults are those to measure.
func (o *recoveryOptions) faults() []string {
	if o.fault == "all" {
		return recoveryFaults
	}
	return []string{o.fault}
}

func (o *recoveryOptions) run(cmd *cobra.Command) (err error) {
	dir, err := os.MkdirTemp("", "ringleader-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	spec, parameters, err := o.prepare(cmd.Context(), dir)
	if err != nil {
		return err
	}
	var reports []*recoveryReport
	for _, fault := range o.faults() {
		show := newDisplay(cmd.ErrOrStderr())
		r, err := measureRecovery(cmd.Context(), o, fault, spec, filepath.Join(dir, fault), show)
		show.Done()
		if err != nil {
			return fmt.Errorf("fault %s: %w", fault, err)
		}
		r.Parameters = parameters
		reports = append(reports, r)
	}
	if o.json != "" {
		var v any = reports
		if o.fault != "all" {
			v = reports[0]
		}
		if err := writeJSON(cmd.OutOrStdout(), o.json, v); err != nil {
			return err
		}
	}
	if o.json == "-" {
		return nil
	}
	return printRecovery(cmd.OutOrStdout(), reports)
}

// prepare makes a data set and the job that trains on it: four layers of width 256, and steps that are long enough to be struck.
func (o *recoveryOptions) prepare(ctx context.Context, dir string) (spec job.Spec, parameters int, err error) {
	data := filepath.Join(dir, "data")
	if _, err := synth.Write(data, synth.Options{Users: 480, Items: 5000, Actions: 100, Topics: 16, Dim: 64, Holdout: -1, Seed: 1}); err != nil {
		return spec, 0, err
	}
	doc := fmt.Sprintf(`name: recovery
what:
  data: %q
  steps: 1000000
  shards: 12
  users_per_shard: 1
  negatives: {in_batch: 0, random: 256}
  model: {preset: small, layers: 4, width: 256, heads: 8, dim: 256, window: 16}
how: {store: %q, workers: {min: 1, max: %d}}
`, data, filepath.Join(dir, runStore), o.workers)
	if spec, err = job.Parse([]byte(doc), dir, o.set...); err != nil {
		return spec, 0, withCode(exitUsage, err)
	}
	m, err := pin(ctx, &spec)
	if err != nil {
		return spec, 0, err
	}
	return spec, m.Size(), nil
}

func printRecovery(to io.Writer, reports []*recoveryReport) error {
	r := reports[0]
	fmt.Fprintf(to, "%s parameters, %d workers, %d coordinators, hang deadline %g s; seconds, medians of the parts\n\n", grouped(r.Parameters), r.Workers, r.Coordinators, r.Hang)
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "fault\ttrials\tstep\tmin\tmedian\tmax\tmedian beyond a step\tdetection\tdecision\ttransfer\tredone\t\n")
	for _, r := range reports {
		fmt.Fprintf(w, "%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t", r.Fault, r.Trials, r.StepMedian, r.Min, r.Median, r.Max, r.Median-r.StepMedian)
		if p := r.Parts; p != nil {
			fmt.Fprintf(w, "%.3f\t%.3f\t%.3f\t%.3f\t\n", p.Detection, p.Decision, p.Transfer, p.Redone)
		} else {
			fmt.Fprintf(w, "-\t-\t-\t-\t\n")
		}
	}
	for _, r := range reports {
		if r.StepGrown > 0 {
			fmt.Fprintf(w, "\n%s: a step of the gang that was joined takes %.3f\n", r.Fault, r.StepGrown)
		}
	}
	return w.Flush()
}
