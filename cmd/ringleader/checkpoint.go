package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
)

func newCheckpoint() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "List, show, verify, hash, export and import checkpoints",
		Long: "URL is a run (its directory, or the URL of its store: then its newest good checkpoint is meant) or one step directory:\n" +
			"a path, file:///PATH, or s3://BUCKET/PREFIX with the standard AWS variables and files.",
		Example: "  ringleader checkpoint list demo-run/faulted\n  ringleader checkpoint verify s3://bucket/run",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	sub := func(use, short, example string, f func(ctx context.Context, out, warn io.Writer, url string) error) {
		cmd.AddCommand(&cobra.Command{Use: use + " URL", Short: short, Example: example, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return f(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
			}})
	}
	sub("show", "Show a checkpoint's manifest and tensors", "  ringleader checkpoint show demo-run", checkpointShow)
	sub("digest", "Print the state digest, recomputed from the files", "  ringleader checkpoint digest demo-run", checkpointDigest)
	cmd.AddCommand(checkpointList(), checkpointVerify(), checkpointExport(), checkpointImport())
	return cmd
}

// listedCheckpoint is a line of checkpoint list.
type listedCheckpoint struct {
	Step        ringleader.Step `json:"step"`
	StateDigest string          `json:"state_digest,omitempty"`
	JobDigest   string          `json:"job_digest,omitempty"`
	Bytes       int64           `json:"bytes"`
	Files       int             `json:"files"`
	Written     time.Time       `json:"written,omitzero"`
	Directory   string          `json:"directory"`
	Error       string          `json:"error,omitempty"` // its manifest cannot be read
}

func checkpointList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list URL", Short: "List the checkpoints of a run", Args: cobra.ExactArgs(1),
		Example: "  ringleader checkpoint list demo-run/faulted\n  ringleader checkpoint list s3://bucket/run --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := listCheckpoints(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), "-", list)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "STEP\tSTATE DIGEST\tJOB DIGEST\tSIZE\tFILES\tWRITTEN\tDIRECTORY")
			for _, c := range list {
				if c.Error != "" {
					fmt.Fprintf(t, "%d\t-\t-\t-\t-\t-\t%s (%s)\n", c.Step, c.Directory, c.Error)
					continue
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%.1f MiB\t%d\t%s\t%s\n",
					c.Step, c.StateDigest, c.JobDigest, float64(c.Bytes)/(1<<20), c.Files, c.Written.Format(time.DateTime), c.Directory)
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

// listCheckpoints reads the manifests of a run, newest step first.
func listCheckpoints(ctx context.Context, url string) ([]listedCheckpoint, error) {
	store, _, err := openRun(ctx, url)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	found, err := committed(ctx, store)
	if err != nil {
		return nil, err
	}
	var list []listedCheckpoint
	for _, f := range found {
		c := listedCheckpoint{Step: f.Step, Directory: f.Dir}
		if m, _, err := checkpoints.ReadManifest(ctx, store, f.Dir); err != nil {
			c.Error = err.Error()
		} else {
			c.StateDigest, c.JobDigest, c.Files, c.Written = m.State.String(), m.Job.String(), len(m.Files), m.Volatile.Time.UTC()
			for _, file := range m.Files {
				c.Bytes += file.Size
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// committed lists the checkpoints that have a manifest, newest first; none is an error.
func committed(ctx context.Context, store checkpoints.Store) ([]checkpoints.Found, error) {
	found, err := checkpoints.List(ctx, store, "")
	if err != nil {
		return nil, storeError(fmt.Errorf("run %s: %w", store.URL(), err))
	}
	found = slices.DeleteFunc(found, func(f checkpoints.Found) bool { return !f.Committed })
	if len(found) == 0 {
		return nil, withCode(exitInput, fmt.Errorf("no checkpoint under %s", store.URL()))
	}
	return found, nil
}

// loadCheckpoint loads a step directory, or the newest good checkpoint of a run, saying on stderr what it passed over.
func loadCheckpoint(ctx context.Context, url string, warn io.Writer) (*checkpoints.State, *checkpoints.Manifest, string, error) {
	store, dir, err := openRun(ctx, url)
	if err != nil {
		return nil, nil, "", err
	}
	defer store.Close()
	if dir != "" {
		st, m, err := checkpoints.Load(ctx, store, dir)
		return st, m, join(store.URL(), dir), storeError(err)
	}
	st, m, skipped, err := checkpoints.LoadNewest(ctx, store, "")
	for _, s := range skipped {
		fmt.Fprintf(warn, "ringleader: passed over: %v\n", s)
	}
	if err != nil {
		return nil, nil, "", storeError(fmt.Errorf("run %s: %w", url, err))
	}
	return st, m, join(store.URL(), checkpoints.Dir(st.Step, st.Digest())), nil
}

func join(base, name string) string { return base + "/" + name }

func checkpointShow(ctx context.Context, w, warn io.Writer, url string) error {
	st, m, where, err := loadCheckpoint(ctx, url, warn)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "checkpoint      %s\nstep            %d\nstate digest    %s\njob digest      %s\nnumerics class  %s\nusers trained   %d\ntokens          %d\nledger          %016x\n",
		where, st.Step, st.Digest(), m.Job, m.Numerics, st.Scalars.Users, st.Scalars.Tokens, st.Scalars.Ledger)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range m.Files {
		fmt.Fprintf(t, "file\t%s\t%d bytes\tsha256 %s\n", f.Name, f.Size, f.SHA256)
	}
	elements := 0
	for _, p := range st.Params {
		fmt.Fprintf(t, "tensor\t%s\t%v\tfloat32\n", p.Name, p.Shape)
		elements += len(p.Data)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "parameters      %d\n", elements)
	return err
}

func checkpointVerify() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "verify URL", Short: "Read every byte of a checkpoint and compare it with its manifest", Args: cobra.ExactArgs(1),
		Long:    "Of a run, the newest one is verified, or with --all every one. All are read also if some are damaged; then the exit code is 3.",
		Example: "  ringleader checkpoint verify s3://bucket/run/step-00000300-1234abcd\n  ringleader checkpoint verify s3://bucket/run --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			return verifyCheckpoints(cmd.Context(), cmd.OutOrStdout(), args[0], all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "verify all checkpoints of the run")
	return cmd
}

func verifyCheckpoints(ctx context.Context, w io.Writer, url string, all bool) error {
	store, dir, err := openRun(ctx, url)
	if err != nil {
		return err
	}
	defer store.Close()
	dirs := []string{dir}
	if dir == "" {
		found, err := committed(ctx, store)
		if err != nil {
			return err
		}
		dirs = nil
		for _, f := range found {
			dirs = append(dirs, f.Dir)
		}
		if !all {
			dirs = dirs[:1]
		}
	}
	var damaged []error
	for _, dir := range dirs {
		where, began := join(store.URL(), dir), time.Now()
		if problems := checkpoints.Verify(ctx, store, dir); len(problems) > 0 {
			damaged = append(damaged, fmt.Errorf("%s: %w", where, errors.Join(problems...)))
		} else if _, err := fmt.Fprintf(w, "%s: every byte is as its manifest says (%.1f s)\n", where, time.Since(began).Seconds()); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(damaged) > 0 {
		return storeError(errors.Join(damaged...))
	}
	return nil
}

func checkpointDigest(ctx context.Context, w, warn io.Writer, url string) error {
	st, _, _, err := loadCheckpoint(ctx, url, warn)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, st.Digest())
	return err
}
