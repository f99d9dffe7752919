package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/evaluation"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/worker"
)

func newEvaluate() *cobra.Command {
	var checkpoint, data, jsonFile, htmlFile string
	var staleness []string
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Recall@10 of a checkpoint on users that never trained, beside its baselines",
		Long: "Embeds the held-out users at the data set's cut and looks for what they did in the window after it, for all items and for those new to\n" +
			"the user. The baselines that a personal model has to beat are printed beside it: popularity, item-kNN, the user's own repeats.",
		Example: "  ringleader evaluate --checkpoint demo-run/faulted --data demo-run/data --json report.json\n" +
			"  ringleader evaluate --checkpoint demo-run/faulted --data demo-run/data --staleness once,daily,realtime --html report.html",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			moments, err := evaluation.ParseStaleness(staleness)
			if err != nil {
				return withCode(exitUsage, fmt.Errorf("--%w", err))
			}
			report, err := evaluateCheckpoint(cmd.Context(), checkpoint, data, cmd.ErrOrStderr(), moments...)
			if jsonFile != "" {
				var v any = report
				if err != nil {
					v = map[string]string{"error": err.Error()}
				}
				err = errors.Join(err, writeJSON(cmd.OutOrStdout(), jsonFile, v))
			}
			if err != nil {
				return err
			}
			if htmlFile != "" {
				err = writeHTML(htmlFile, report)
			}
			if jsonFile != "-" {
				err = errors.Join(err, report.Text(cmd.OutOrStdout()))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&checkpoint, "checkpoint", "", "a run (its newest good checkpoint) or one step directory (required)")
	f.StringVar(&data, "data", "", "data set (required)")
	f.StringSliceVar(&staleness, "staleness", []string{"once"}, "when users are embedded: once (at the cut), daily, realtime (after every action), comma separated")
	f.StringVar(&jsonFile, "json", "", "write the report to this file; - is standard output")
	f.StringVar(&htmlFile, "html", "", "write the report with plots to this file, one page that needs nothing else")
	must(cmd.MarkFlagRequired("checkpoint"))
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

func writeHTML(file string, report *evaluation.Report) error {
	var b bytes.Buffer
	if err := report.HTML(&b); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return nil
}

// evaluateCheckpoint scores a checkpoint with the model of the job that is stored beside it.
func evaluateCheckpoint(ctx context.Context, checkpoint, data string, warn io.Writer, staleness ...evaluation.Staleness) (_ *evaluation.Report, err error) {
	st, spec, _, err := loadWithJob(ctx, checkpoint, warn)
	if err != nil {
		return nil, fmt.Errorf("--checkpoint %s: %w", checkpoint, err)
	}
	ds, closeData, err := openData(ctx, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeData()) }()
	if d := ds.Meta().Digest; d != spec.What.DataDigest {
		fmt.Fprintf(warn, "ringleader: note: the checkpoint was trained on data set %s, this is %s\n", spec.What.DataDigest, d)
	}
	losses, err := lossesOf(checkpoint, st.Step)
	if err != nil {
		return nil, err
	}
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	return evaluation.Run(ctx, evaluation.Options{Data: ds, Job: spec.What, Params: st.Params, Device: dev, Staleness: staleness, Losses: losses})
}

// evaluateBeside is how a worker serves how.evaluate: the model alone, because the baselines do not change, and on one thread,
// because the others train.
func evaluateBeside(dev device.Device) worker.Evaluate {
	return func(ctx context.Context, what job.What, data *dataset.Dataset, params []checkpoints.Tensor) (worker.Evaluation, error) {
		r, err := evaluation.Run(ctx, evaluation.Options{Data: data, Job: what, Params: params, Device: dev, Threads: 1, SkipBaselines: true})
		if err != nil {
			return worker.Evaluation{}, err
		}
		text := fmt.Sprintf("Recall@10 %.4f (%.4f-%.4f), new only %.4f (%.4f-%.4f)", r.RecallAt10, r.Interval[0], r.Interval[1],
			r.NewOnly.RecallAt10, r.NewOnly.Interval[0], r.NewOnly.Interval[1])
		return worker.Evaluation{Text: text, Score: r.RecallAt10}, nil
	}
}

// openData opens a data set for one command, its cache in a temporary directory.
func openData(ctx context.Context, url string) (*dataset.Dataset, func() error, error) {
	store, err := openStore(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	defer store.Close() // opening reads all that is needed into the cache
	cache, err := os.MkdirTemp("", "ringleader-data-")
	if err != nil {
		return nil, nil, err
	}
	ds, err := dataset.Open(ctx, store, cache)
	if err != nil {
		return nil, nil, errors.Join(dataError("data set", url, err), os.RemoveAll(cache))
	}
	return ds, func() error { return errors.Join(ds.Close(), os.RemoveAll(cache)) }, nil
}
