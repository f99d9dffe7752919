package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device/timed"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
	"github.com/ringleader-dev/ringleader/worker"
)

func benchTrain() *cobra.Command {
	var flags benchFlags
	var fields jobFlags
	var data, preset string
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Time steps of training on a data set, the drawing of its users included",
		Long: "The job is the preset's defaults with --set; its first steps are measured. \"Input\" is the drawing of users, windows, positives and\n" +
			"negatives, measured once more by itself after each step.",
		Example: "  ringleader bench train --data demo-run/data\n" +
			"  ringleader bench train --data demo-run/data --preset small --set what.shards=4 --set what.users_per_shard=16 --set what.model.window=40 --json train.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return withCode(exitUsage, err)
			}
			what, err := benchJob(cmd.Context(), data, preset, fields.set)
			if err != nil {
				return err
			}
			r, err := flags.train(cmd.Context(), what, data)
			if err != nil {
				return err
			}
			return r.write(cmd, flags.json)
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "data set (required)")
	f.StringVar(&preset, "preset", job.DefaultPreset, "what is trained: "+strings.Join(job.Presets(), ", "))
	fields.register(cmd)
	flags.register(cmd)
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

// benchJob is the job that is measured: long enough that its learning rate is of no account.
func benchJob(ctx context.Context, data, preset string, set []string) (job.What, error) {
	doc := fmt.Sprintf("name: bench\nwhat: {data: %q, steps: 1000000, model: {preset: %q}}\n", data, preset)
	spec, err := job.Parse([]byte(doc), ".", set...)
	if err != nil {
		return job.What{}, withCode(exitUsage, err)
	}
	_, err = pin(ctx, &spec)
	return spec.What, err
}

func (f *benchFlags) train(ctx context.Context, what job.What, data string) (_ *benchReport, err error) {
	ds, closeData, err := openData(ctx, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeData()) }()
	inner, err := openDevice("cpu", what.ISA, false, f.threads)
	if err != nil {
		return nil, err
	}
	dev := timed.Wrap(inner)
	defer func() { err = errors.Join(err, dev.Close()) }()
	w, closeTraining, err := openTraining(dev, what, ds, ds.Meta().Name)
	if err != nil {
		return nil, withCode(exitInput, err)
	}
	defer closeTraining()
	return w.measure(ctx, f.steps)
}

// openTraining is the workload of a job on a data set.
func openTraining(dev *timed.Device, what job.What, ds *dataset.Dataset, name string) (*workload, func(), error) {
	m, err := model.New(what, ds.Meta())
	if err != nil {
		return nil, nil, err
	}
	t, err := worker.OpenTraining(what, ds, dev, nil)
	if err != nil {
		return nil, nil, err
	}
	w := &workload{name: name, what: what, engine: t.Engine, model: m, dev: dev}
	var b dataset.Batch
	w.load = func(step ringleader.Step) stepLoad {
		s := stepLoad{items: what.Shards * (what.Negatives.InBatch + what.Negatives.Random), learning: true}
		for shard := range what.Shards {
			before := cpuTime()
			t.Sampler().Batch(&b, step, ringleader.Shard(shard))
			s.drawing += cpuTime() - before
			s.draws++
			s.users += len(b.User)
			s.tokens += len(b.Item)
			for u := range b.User {
				n := int(b.Offset[u+1] - b.Offset[u])
				s.squares += n * n
			}
		}
		return s
	}
	return w, t.Close, nil
}
