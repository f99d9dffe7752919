package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
)

// chaosOptions are the flags of ringleader chaos.
type chaosOptions struct {
	faults int
	seed   uint64
	round  int
	plan   bool
	store  string
	minio  string
	dir    string
	json   string
}

// chaosReport is what --json writes.
type chaosReport struct {
	Seed        uint64              `json:"seed"`
	Faults      int                 `json:"faults"`  // that struck
	Missed      int                 `json:"missed"`  // that found nothing to strike any more
	ByKind      map[string]int      `json:"by_kind"` // of those that struck
	StateDigest string              `json:"state_digest"`
	Rounds      []*chaosRoundReport `json:"rounds"`
	Differences int                 `json:"differences"` // rounds that did not end as they must
	Seconds     float64             `json:"seconds"`
	Error       string              `json:"error,omitempty"`
}

// chaosRoundReport is one cluster's fate and end.
type chaosRoundReport struct {
	Round int `json:"round"`
	chaosPlan
	Missed      []string `json:"missed,omitempty"`
	Generations int      `json:"generations"`
	StateDigest string   `json:"state_digest"`
	Seconds     float64  `json:"seconds"`
	Wrong       []string `json:"wrong,omitempty"` // what is not as it must be
}

func newChaos() *cobra.Command {
	var o chaosOptions
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Torment clusters of child processes with faults drawn from a seed, and compare what they end with bit by bit",
		Long: fmt.Sprintf("Trains a small job undisturbed on one worker, then again and again on clusters of %d coordinators and some workers, each struck by up to\n"+
			"%d faults of the kinds of \"ringleader local --fault\". Every run must end with the bits of the undisturbed one, each user trained exactly\n"+
			"when the job says, a sound final checkpoint, and no process, port, file or goroutine left behind. What strikes whom and when is a function of\n"+
			"the seed and the round; a round that ends otherwise stays in the directory, with the command that repeats it.\n\n"+
			"With a MinIO server, every other cluster (--store both) or every one (--store s3) keeps its checkpoints there, behind a proxy that brings\n"+
			"about further faults, each as KIND:s3@STEP or, if it lasts, KIND:s3@STEP:DURATION:\n%s", chaosCoordinators, chaosRound, faultHelp(serverTable)),
		Example: "  ringleader chaos --faults 20 --seed 1\n  ringleader chaos --seed 7 --round 3\n" +
			"  RINGLEADER_MINIO=$(scripts/minio.sh) ringleader chaos --store s3",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.faults < 1 || o.round < -1 {
				return withCode(exitUsage, fmt.Errorf("--faults %d, --round %d: allowed: at least 1 fault, rounds from 0", o.faults, o.round))
			}
			if err := o.chooseStore(); err != nil {
				return withCode(exitUsage, err)
			}
			if o.plan {
				return o.eachRound(func(round int, plan chaosPlan) error {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "round %d: --coordinators %d --workers %d%s\n", round, chaosCoordinators, plan.Workers, plan.flags())
					return err
				})
			}
			report := &chaosReport{Seed: o.seed, ByKind: map[string]int{}, Rounds: []*chaosRoundReport{}}
			err := runChaos(cmd.Context(), &o, report, cmd.ErrOrStderr())
			if err != nil {
				report.Error = err.Error()
			}
			if o.json != "-" {
				printChaos(cmd.OutOrStdout(), report)
			}
			if o.json != "" {
				err = errors.Join(err, writeJSON(cmd.OutOrStdout(), o.json, report))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.faults, "faults", 20, "faults in all")
	f.Uint64Var(&o.seed, "seed", 1, "what the faults are drawn from")
	f.IntVar(&o.round, "round", -1, "only this round of the seed, with all of its faults")
	f.StringVar(&o.store, "store", "", "where clusters keep their checkpoints: directory, s3, or both by turns (default: both, without --minio directory)")
	f.StringVar(&o.minio, "minio", os.Getenv(minioVariable), "MinIO server to start for those in s3 (default: $"+minioVariable+")")
	f.BoolVar(&o.plan, "plan", false, "only print what would strike, as flags of ringleader local")
	f.StringVar(&o.dir, "dir", "", "new or empty directory for the runs (default: a temporary one); only rounds that went wrong stay")
	f.StringVar(&o.json, "json", "", "write the report to this file; - is standard output")
	return cmd
}

// runChaos plays all rounds. The error says how many went wrong.
func runChaos(ctx context.Context, o *chaosOptions, report *chaosReport, log io.Writer) (err error) {
	began := time.Now()
	defer func() { report.Seconds = math.Round(time.Since(began).Seconds()*10) / 10 }()
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ringleader-chaos-"); err != nil {
			return err
		}
	} else if dir, err = claimDir(dir, "", false); err != nil {
		return err
	}
	c := &chaos{dir: dir, job: filepath.Join(dir, "job.yaml"), options: o, report: report, log: log}
	if o.store != "directory" {
		if c.server, err = startChaosServer(ctx, o.minio); err != nil {
			return withCode(exitUnreachable, err)
		}
		defer func() { err = errors.Join(err, c.server.close()) }()
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := o.eachRound(func(round int, plan chaosPlan) error { return c.round(ctx, round, plan) }); err != nil {
		return err
	}
	if report.Differences > 0 {
		return fmt.Errorf("chaos: %d of %d rounds went wrong; they are in %s", report.Differences, len(report.Rounds), dir)
	}
	return os.RemoveAll(dir)
}

// chooseStore checks --store, or chooses.
func (o *chaosOptions) chooseStore() error {
	switch o.store {
	case "":
		if o.store = "both"; o.minio == "" {
			o.store = "directory"
		}
	case "directory", "s3", "both":
	default:
		return fmt.Errorf("--store %q: allowed: directory, s3, both", o.store)
	}
	if o.store != "directory" && o.minio == "" && !o.plan {
		return fmt.Errorf("--store %s without --minio: want a MinIO server to start (scripts/minio.sh prints the path of one)", o.store)
	}
	return nil
}

// inS3 tells where a round's cluster keeps its checkpoints.
func (o *chaosOptions) inS3(round int) bool {
	return o.store == "s3" || o.store == "both" && round%2 == 1
}

// eachRound goes through the rounds that the faults are dealt to.
func (o *chaosOptions) eachRound(play func(round int, plan chaosPlan) error) error {
	if o.round >= 0 {
		return play(o.round, planChaos(o.seed, o.round, chaosRound, o.inS3(o.round)))
	}
	for round, left := 0, o.faults; left > 0; round, left = round+1, left-chaosRound {
		if err := play(round, planChaos(o.seed, round, min(left, chaosRound), o.inS3(round))); err != nil {
			return err
		}
	}
	return nil
}

// chaos is a sequence of rounds. All fields belong to one goroutine.
type chaos struct {
	dir, job string
	options  *chaosOptions
	server   *chaosServer // nil: all is in directories
	want     *runOutcome  // of the undisturbed run
	report   *chaosReport
	log      io.Writer
}

// prepare writes the job and its data, and runs it undisturbed.
func (c *chaos) prepare(ctx context.Context) error {
	if _, err := synth.Write(filepath.Join(c.dir, "data"), synth.Options{Users: 240, Items: 120, Seed: 3}); err != nil {
		return err
	}
	text := fmt.Sprintf(`name: chaos
what:
  data: data
  seed: 11
  shards: 12
  users_per_shard: 2
  steps: %d
  model: {preset: tiny, dropout: 0.1}
how:
  checkpoint: {every: %d, keep: 3}
  deadlines: {hang: 1s, store: 2s}
`, chaosSteps, chaosEvery)
	if err := atomicfile.WriteFile(c.job, []byte(text), 0o644); err != nil {
		return err
	}
	dir := filepath.Join(c.dir, "undisturbed")
	report, err := runLocal(ctx, localOptions{file: c.job, dir: dir, coordinators: 1, workers: 1}, newDisplay(io.Discard))
	if err != nil {
		return fmt.Errorf("undisturbed run: %w", err)
	}
	c.report.StateDigest = report.StateDigest
	c.want, err = inspectRun(ctx, dir, report)
	return err
}

// A round may run on a machine that is busy with other things.
const (
	chaosLimit     = 10 * time.Minute       // one that has not ended by then never will
	chaosHeartbeat = 500 * time.Millisecond // of Raft: leaders are lost to faults, not to the scheduler
)

// round plays one cluster's fate. The error is for what ends everything; a round that goes wrong is reported.
func (c *chaos) round(ctx context.Context, round int, plan chaosPlan) error {
	r := &chaosRoundReport{Round: round, chaosPlan: plan}
	c.report.Rounds = append(c.report.Rounds, r)
	dir := filepath.Join(c.dir, fmt.Sprintf("round-%d", round))
	o := localOptions{file: c.job, dir: dir, coordinators: chaosCoordinators, workers: plan.Workers, faults: plan.Faults, lenient: true, heartbeat: chaosHeartbeat}
	if plan.S3 {
		o.server, o.store = c.server, fmt.Sprintf("s3://%s/round-%d", chaosBucket, round)
	}
	before, err := holdsNow()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, chaosLimit)
	defer cancel()
	began := time.Now()
	report, err := runLocal(limited, o, newDisplay(io.Discard))
	r.Seconds = math.Round(time.Since(began).Seconds()*10) / 10
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if plan.S3 {
		err = errors.Join(err, c.server.calm(ctx))
	}
	r.Generations, r.StateDigest = len(report.Generations), report.StateDigest
	c.count(r, report)
	if err == nil {
		r.Wrong = c.compare(ctx, dir, report)
	} else {
		r.Wrong = append(r.Wrong, err.Error())
	}
	for _, name := range report.stubborn {
		r.Wrong = append(r.Wrong, fmt.Sprintf("%s did not end within %v", name, stopLimit))
	}
	r.Wrong = append(r.Wrong, leaks(ctx, dir, report.ports, before)...)
	fmt.Fprintln(c.log, r.line())
	if len(r.Wrong) == 0 {
		return os.RemoveAll(dir)
	}
	c.report.Differences++
	fmt.Fprintf(c.log, "  %s\n  again: ringleader chaos --seed %d --round %d --store %s\n", strings.Join(r.Wrong, "\n  "), c.options.seed, round, c.options.store)
	if !plan.S3 {
		fmt.Fprintf(c.log, "  or:    ringleader local --job %s --dir again --coordinators %d --workers %d%s\n", c.job, chaosCoordinators, plan.Workers, plan.flags())
	}
	return nil
}

// count adds what struck.
func (c *chaos) count(r *chaosRoundReport, report *localReport) {
	struck := map[string]bool{}
	for _, f := range report.Faults {
		if f.Missed == "" {
			struck[f.Fault] = true
		}
	}
	for _, spec := range r.Faults {
		if !struck[spec] {
			r.Missed = append(r.Missed, spec)
			c.report.Missed++
			continue
		}
		c.report.Faults++
		what, _, _ := strings.Cut(spec, "@")
		kind, on, _ := strings.Cut(what, ":")
		on, _, _ = strings.Cut(on, ":") // without the worker's index
		c.report.ByKind[kind+":"+on]++
	}
}

func (r *chaosRoundReport) line() string {
	end := "same bits"
	if len(r.Wrong) > 0 {
		end = "WRONG"
	}
	where := ""
	if r.S3 {
		where = ", S3"
	}
	return fmt.Sprintf("round %d: %d workers%s; %s: %d generations, %.1f s, %s", r.Round, r.Workers, where, strings.Join(r.Faults, " "), r.Generations, r.Seconds, end)
}

func printChaos(w io.Writer, r *chaosReport) {
	fmt.Fprintf(w, "seed %d: %d faults struck %d clusters (%d missed), %.0f s\n", r.Seed, r.Faults, len(r.Rounds), r.Missed, r.Seconds)
	var kinds []string
	for kind, n := range r.ByKind {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(kinds)
	fmt.Fprintf(w, "%s\nstate digest %s; %d differences\n", strings.Join(kinds, ", "), r.StateDigest, r.Differences)
}
