package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/internal/progress"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func newJob() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "job",
		Short:   "Write, check, submit and control jobs",
		Example: "  ringleader job init > job.yaml\n  ringleader job submit job.yaml --wait",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(jobInit(), jobValidate(), jobParams(), jobSubmit(), jobList(), jobShow(), jobWatch(),
		jobControl("pause", "Checkpoint a job and free its workers", rpcpb.JobAction_JOB_ACTION_PAUSE),
		jobControl("resume", "Queue a paused job again", rpcpb.JobAction_JOB_ACTION_RESUME),
		jobControl("cancel", "End a job; its checkpoints stay", rpcpb.JobAction_JOB_ACTION_CANCEL))
	return cmd
}

func jobInit() *cobra.Command {
	return &cobra.Command{
		Use: "init", Short: "Print a commented job file", Example: "  ringleader job init > job.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(job.Template())
			return err
		},
	}
}

func jobValidate() *cobra.Command {
	var flags jobFlags
	cmd := &cobra.Command{
		Use: "validate FILE", Short: "Check a job file, against its data too, and print its digest", Example: "  ringleader job validate job.yaml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, m, err := flags.load(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			printNotes(cmd.OutOrStdout(), m.Notes())
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid; job digest %s\n", args[0], spec.What.Digest())
			return err
		},
	}
	flags.register(cmd)
	return cmd
}

// printNotes says what the user should know of how the job is read.
func printNotes(w io.Writer, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// withClient runs f with a client of the cluster.
func withClient(cluster *clusterFlags, f func(*client.Client) error) error {
	token, err := cluster.token()
	if err != nil {
		return err
	}
	cl, err := client.Dial(cluster.coordinators, token, client.Options{})
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("--coordinators: %w", err))
	}
	return errors.Join(f(cl), cl.Close())
}

func jobSubmit() *cobra.Command {
	var flags jobFlags
	var cluster clusterFlags
	var key, resume string
	var wait, fork bool
	cmd := &cobra.Command{
		Use: "submit FILE", Short: "Submit a job; with the same --key, only once", Args: cobra.ExactArgs(1),
		Example: "  ringleader job submit job.yaml --key nightly-2022-09-18 --wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, m, err := flags.load(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			printNotes(cmd.ErrOrStderr(), m.Notes())
			if spec.How.Store == "" {
				return withCode(exitInput, fmt.Errorf("job file %s: how.store is empty; allowed: a path, file:///PATH, s3://BUCKET/PREFIX", args[0]))
			}
			plan := &localPlan{spec: spec}
			if err := plan.checkStoreFromAfar(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			if err := plan.resumeFrom(cmd.Context(), resume, fork); err != nil {
				return err
			}
			canonical, err := job.Canonical(spec)
			if err != nil {
				return err
			}
			return withClient(&cluster, func(cl *client.Client) error {
				j, err := cl.Submit(cmd.Context(), &rpcpb.SubmitJobRequest{Key: key, Spec: canonical, ResumeUrl: plan.resumeURL, ResumeStep: int64(plan.resumeStep)})
				if err != nil {
					return answered(err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), j.Id)
				if !wait {
					return nil
				}
				return watchJob(cmd.Context(), cl, j.Id, cmd.ErrOrStderr())
			})
		},
	}
	flags.register(cmd)
	cluster.register(cmd)
	cmd.Flags().StringVar(&key, "key", "", "idempotency key: submitting again with the same key returns the same job")
	cmd.Flags().StringVar(&resume, "resume", "", "continue from a run's newest good checkpoint, or from one step directory")
	cmd.Flags().BoolVar(&fork, "fork", false, "resume although the job's \"what\" differs from the checkpoint's")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the job's end, showing its progress")
	return cmd
}

func jobList() *cobra.Command {
	var cluster clusterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the jobs", Example: "  ringleader job list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				jobs, err := cl.List(cmd.Context())
				if err != nil {
					return answered(err)
				}
				if asJSON {
					list := []jobJSON{}
					for _, j := range jobs {
						list = append(list, jobAsJSON(j))
					}
					return writeJSON(cmd.OutOrStdout(), "-", list)
				}
				t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				fmt.Fprintln(t, "JOB\tNAME\tSTATE\tSTEP\tREASON")
				for _, j := range jobs {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", j.Id, j.Name, stateName(j.State), stepOf(j, "/"), j.Reason)
				}
				return t.Flush()
			})
		},
	}
	cluster.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

// stepOf is how far a job has come, of how much if that is known: the coordinators do not know how long an epoch is.
func stepOf(j *rpcpb.JobInfo, of string) string {
	if j.Steps == 0 {
		return fmt.Sprint(stepReached(j))
	}
	return fmt.Sprint(stepReached(j), of, j.Steps)
}

// stepReached is the highest step that is known of. A new leader hears of the gang's newest only after its next one.
func stepReached(j *rpcpb.JobInfo) int64 {
	step := j.GetProgress().GetStep()
	if n := len(j.Checkpoints); n > 0 {
		step = max(step, j.Checkpoints[n-1].Step)
	}
	if n := len(j.Generations); n > 0 {
		step = max(step, j.Generations[n-1].FirstStep)
	}
	return step
}

// stateName is the word of the glossary.
func stateName(s rpcpb.JobState) string {
	switch s {
	case rpcpb.JobState_JOB_STATE_QUEUED:
		return "queued"
	case rpcpb.JobState_JOB_STATE_RUNNING:
		return "running"
	case rpcpb.JobState_JOB_STATE_PAUSED:
		return "paused"
	case rpcpb.JobState_JOB_STATE_FINISHING:
		return "finishing"
	case rpcpb.JobState_JOB_STATE_SUCCEEDED:
		return "succeeded"
	case rpcpb.JobState_JOB_STATE_FAILED:
		return "failed"
	case rpcpb.JobState_JOB_STATE_CANCELLED:
		return "cancelled"
	}
	return "unknown"
}

func jobShow() *cobra.Command {
	var cluster clusterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a job: its state, members, checkpoints and time line", Example: "  ringleader job show job-abcdefghij", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				j, err := cl.Get(cmd.Context(), args[0])
				if err != nil {
					return answered(err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), "-", jobAsJSON(j))
				}
				return printJob(cmd.OutOrStdout(), j)
			})
		},
	}
	cluster.register(cmd)
	cmd.ValidArgsFunction = completeID(&cluster, jobIDs)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all that is known of it as JSON")
	return cmd
}

func printJob(w io.Writer, j *rpcpb.JobInfo) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "job\t%s\nname\t%s\nstate\t%s\nreason\t%s\njob digest\t%s\nstep\t%s\n", j.Id, j.Name, stateName(j.State), j.Reason, j.JobDigest, stepOf(j, " of "))
	if n := len(j.Generations); n > 0 && j.EndedMs == 0 {
		g, p := j.Generations[n-1], j.GetProgress()
		for rank, id := range g.Members {
			pace := ""
			if p.GetGeneration() == g.Number && rank < len(p.ShardSeconds) {
				pace = fmt.Sprintf(", %.3g s a shard", p.ShardSeconds[rank])
			}
			fmt.Fprintf(t, "rank %d\t%s%s\n", rank, id, pace)
		}
	}
	for _, c := range j.Checkpoints {
		fmt.Fprintf(t, "checkpoint\tstep %d, state digest %s, %s\n", c.Step, c.StateDigest, c.Directory)
	}
	fmt.Fprintln(t)
	for _, e := range j.Events {
		at := time.UnixMilli(e.TimeMs).UTC()
		fmt.Fprintf(t, "%s\t+%.1f s\t%s\n", at.Format(time.DateTime), at.Sub(time.UnixMilli(j.SubmittedMs)).Seconds(), e.Text)
	}
	return t.Flush()
}

func jobWatch() *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use: "watch ID", Short: "Follow a job until it ends", Example: "  ringleader job watch job-abcdefghij", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				return watchJob(cmd.Context(), cl, args[0], cmd.ErrOrStderr())
			})
		},
	}
	cluster.register(cmd)
	cmd.ValidArgsFunction = completeID(&cluster, jobIDs)
	return cmd
}

// watchJob shows a job until it ends; an end other than success is an error. A job that is paused may go on.
func watchJob(ctx context.Context, cl *client.Client, id string, w io.Writer) error {
	show := newDisplay(w)
	defer show.Done()
	var seen uint64
	var last *rpcpb.JobInfo
	err := cl.Watch(ctx, id, func(j *rpcpb.JobInfo) error {
		last = j
		for _, e := range j.Events {
			if e.Number > seen {
				seen = e.Number
				show.Note(e.Text)
			}
		}
		show.Update(jobProgress(j))
		return nil
	})
	if ctx.Err() != nil {
		return withCode(exitInterrupted, fmt.Errorf("interrupted; job %s goes on", id))
	}
	if err != nil {
		return answered(err)
	}
	switch s := last.GetState(); s {
	case rpcpb.JobState_JOB_STATE_FAILED:
		return fmt.Errorf("job %s failed: %s", id, last.Reason)
	case rpcpb.JobState_JOB_STATE_CANCELLED:
		return fmt.Errorf("job %s was cancelled at step %s", id, stepOf(last, " of "))
	}
	return nil
}

// jobProgress is what a display shows of a job.
func jobProgress(j *rpcpb.JobInfo) progress.State {
	p := j.GetProgress()
	s := progress.State{Step: ringleader.Step(stepReached(j)), Steps: ringleader.Step(j.Steps), Loss: p.GetLoss(), UsersPerSecond: p.GetUsersPerS(), TokensPerSecond: p.GetTokensPerS()}
	if n := len(j.Generations); n > 0 {
		s.Generation, s.Workers = ringleader.Generation(j.Generations[n-1].Number), len(j.Generations[n-1].Members)
	}
	if n := len(j.Checkpoints); n > 0 {
		s.Checkpoint = ringleader.Step(j.Checkpoints[n-1].Step)
	}
	switch j.State {
	case rpcpb.JobState_JOB_STATE_QUEUED, rpcpb.JobState_JOB_STATE_PAUSED:
		s.Waiting = j.Reason
	}
	return s
}

func jobControl(word, short string, action rpcpb.JobAction) *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use: word + " ID", Short: short, Example: "  ringleader job " + word + " job-abcdefghij", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				j, err := cl.Control(cmd.Context(), args[0], action)
				if err != nil {
					return answered(err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", j.Id, stateName(j.State), j.Reason)
				return err
			})
		},
	}
	cluster.register(cmd)
	cmd.ValidArgsFunction = completeID(&cluster, jobIDs)
	return cmd
}
