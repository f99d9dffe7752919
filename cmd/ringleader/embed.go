package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/importer"
	"github.com/ringleader-dev/ringleader/internal/progress"
	"github.com/ringleader-dev/ringleader/serving"
)

// embedFlags are the flags of embed.
type embedFlags struct {
	checkpoint, data, out, from, asOf, device, isa, json string
	full, ownProducts                                    bool
	threads, partUsers                                   int
}

func newEmbed() *cobra.Command {
	var e embedFlags
	cmd := &cobra.Command{
		Use:   "embed",
		Short: "Write the embeddings of users and items, anew only where something is new",
		Long: "Writes a vector for every user with an action up to --as-of, and for every item, in half precision, as Parquet and as safetensors, into a\n" +
			"directory of its own below --out. embeddings.json there names the newest one and is replaced last. Users without a new action keep the\n" +
			"vector that an earlier run stored. An interrupted run goes on when the same command is given again. Neither changes a byte of the result.",
		Example: "  ringleader embed --checkpoint run --data shop --out vectors\n" +
			"  ringleader embed --checkpoint s3://bucket/run --data s3://bucket/shop --out s3://bucket/vectors --as-of 2026-03-01\n" +
			"  ringleader embed --checkpoint new-run --data shop --out vectors --full",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := e.run(cmd.Context(), cmd.ErrOrStderr())
			if e.json != "" {
				var v any = report
				if err != nil {
					v = map[string]string{"error": err.Error()}
				}
				err = errors.Join(err, writeJSON(cmd.OutOrStdout(), e.json, v))
			}
			if err == nil && e.json != "-" {
				err = printEmbed(cmd.OutOrStdout(), e.out, report)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.checkpoint, "checkpoint", "", "a run (its newest good checkpoint) or one step directory (required)")
	f.StringVar(&e.data, "data", "", "data set (required)")
	f.StringVar(&e.out, "out", "", "where to: a directory, or s3://BUCKET/PREFIX (required)")
	f.StringVar(&e.from, "from", "", "where earlier embeddings of the same model are (default: --out)")
	f.StringVar(&e.asOf, "as-of", "end", "what is known is up to this time, included: end (of the data set), cut, a date, a time in UTC, RFC 3339 or unix seconds")
	f.BoolVar(&e.full, "full", false, "compute every vector, also where --out holds another model's")
	f.IntVar(&e.threads, "threads", 0, "threads that compute (default: one for each CPU)")
	f.IntVar(&e.partUsers, "part-users", serving.PartUsers, "users of the data set in one file; an interrupted run loses one file at most")
	f.StringVar(&e.device, "device", "cpu", "what to compute on: "+deviceNames)
	f.StringVar(&e.isa, "isa", "", "cap on the instruction set, so that unlike machines give the same bits: avx2, avx512, avx512_bf16, amx (default: the best there is)")
	f.BoolVar(&e.ownProducts, "own-products", false, ownProductsUsage)
	f.StringVar(&e.json, "json", "", "write the report to this file; - is standard output")
	for _, required := range []string{"checkpoint", "data", "out"} {
		must(cmd.MarkFlagRequired(required))
	}
	return cmd
}

func (e *embedFlags) run(ctx context.Context, errs io.Writer) (_ *serving.Report, err error) {
	if e.threads < 0 || e.partUsers < 1 {
		return nil, withCode(exitUsage, fmt.Errorf("--threads %d, --part-users %d: want at least 0 and 1", e.threads, e.partUsers))
	}
	if e.full && e.from != "" {
		return nil, withCode(exitUsage, fmt.Errorf("--from %s with --full: a full run takes nothing from earlier embeddings; want one of them", e.from))
	}
	st, spec, _, err := loadWithJob(ctx, e.checkpoint, errs)
	if err != nil {
		return nil, fmt.Errorf("--checkpoint %s: %w", e.checkpoint, err)
	}
	ds, closeData, err := openData(ctx, e.data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeData()) }()
	asOf, err := e.time(ds.Meta())
	if err != nil {
		return nil, withCode(exitUsage, fmt.Errorf("--as-of %w", err))
	}
	if d := ds.Meta().Digest; d != spec.What.DataDigest {
		fmt.Fprintf(errs, "ringleader: note: the checkpoint was trained on data set %s, this is %s\n", spec.What.DataDigest, d)
	}
	dev, err := openDevice(e.device, e.isa, e.ownProducts, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	show := newDisplay(errs)
	defer func() { err = errors.Join(err, show.Done()) }()
	began := time.Now()
	o := serving.Options{
		Data: ds, Job: spec.What, Params: st.Params, State: st.Digest(), Step: st.Step, Device: dev,
		Full: e.full, AsOfMS: asOf, Scratch: os.TempDir(), Threads: e.threads, PartUsers: e.partUsers,
		Program: version, Now: time.Now, Note: show.Note,
		Progress: func(p serving.Progress) {
			show.Update(progress.State{Step: ringleader.Step(p.Done), Steps: ringleader.Step(p.Total), Unit: "users",
				UsersPerSecond: float64(p.Done-p.Found) / time.Since(began).Seconds()})
		},
	}
	if o.Out, err = openStore(ctx, e.out); err != nil {
		return nil, err
	}
	defer o.Out.Close()
	if e.from != "" {
		if o.From, err = openStore(ctx, e.from); err != nil {
			return nil, err
		}
		defer o.From.Close()
	}
	report, err := serving.Run(ctx, o)
	if errors.Is(err, serving.ErrOther) || errors.Is(err, checkpoints.ErrCorrupt) {
		err = fmt.Errorf("%w (--full)", err)
	}
	if err != nil {
		return nil, storeError(err)
	}
	return report, nil
}

// time is --as-of in unix milliseconds.
func (e *embedFlags) time(m dataset.Meta) (int64, error) {
	switch e.asOf {
	case "end":
		return m.LastMS, nil
	case "cut":
		return m.CutMS, nil
	}
	ms, err := importer.ParseTime(e.asOf)
	if err != nil {
		return 0, fmt.Errorf("%w, end or cut", err)
	}
	return ms, nil
}

func printEmbed(w io.Writer, out string, r *serving.Report) error {
	now := "no: there is a later generation"
	if r.Current {
		now = "yes"
	}
	_, err := fmt.Fprintf(w, "generation     %s\ncurrent        %s\nas of          %s\nstate digest   %s (step %d)\n"+
		"users          %d (%d computed, %d kept, %d in files that were finished)\nitems          %d\ndimension      %d\n",
		join(out, r.Generation), now, time.UnixMilli(r.AsOfMS).UTC().Format(time.RFC3339), r.State, r.Step, r.Users, r.Made, r.Kept, r.Found, r.Items, r.Dim)
	return err
}
