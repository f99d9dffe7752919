package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/device/timed"
	"github.com/ringleader-dev/ringleader/job"
)

func benchStep() *cobra.Command {
	var flags benchFlags
	var o stepOptions
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Time steps of training on made-up data, and say where the time goes",
		Long: "A step is what a worker alone in its gang does: gradients of all shards, their conversion to fixed point, their sum, checks, update,\n" +
			"hashes. The preset peer is a workload that other programs are compared with: 16 users of 255 encoded tokens against 4096 negatives.\n" +
			"The other presets train full windows of synthetic users.",
		Example: "  ringleader bench step --threads 2 --json step.json\n  ringleader bench step --preset small --shards 4",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.check(), o.check()); err != nil {
				return withCode(exitUsage, err)
			}
			r, err := o.run(cmd.Context(), &flags)
			if err != nil {
				return err
			}
			return r.write(cmd, flags.json)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.preset, "preset", presetPeer, "what is computed: "+strings.Join(stepPresets(), ", "))
	f.StringVar(&o.dtype, "dtype", "float32", "of matrix products: float32, bfloat16")
	f.StringVar(&o.device, "device", "cpu", "what to compute on: "+deviceNames)
	f.IntVar(&o.shards, "shards", 0, "shards that a step's users are dealt to (default: one a thread)")
	f.IntVar(&o.users, "users", 0, "users of each shard (default: the preset's; peer: 16 in all)")
	f.BoolVar(&o.witness, "witness", false, "hash what a member of a gang of two does: moments before the update, too")
	flags.register(cmd)
	return cmd
}

type stepOptions struct {
	preset, dtype, device string
	shards, users         int
	witness               bool
}

func stepPresets() []string { return append([]string{presetPeer}, job.Presets()...) }

func (o *stepOptions) check() error {
	var errs []error
	choice := func(flag, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			errs = append(errs, fmt.Errorf("%s %q: allowed: %s", flag, value, strings.Join(allowed, ", ")))
		}
	}
	choice("--preset", o.preset, stepPresets()...)
	choice("--dtype", o.dtype, "float32", "bfloat16")
	if o.shards < 0 || o.shards > 1<<12 {
		errs = append(errs, fmt.Errorf("--shards %d: allowed: 1 to 4096, or 0 for one a thread", o.shards))
	}
	if o.users < 0 || o.users > 1<<16 {
		errs = append(errs, fmt.Errorf("--users %d: allowed: 1 to 65536, or 0 for the preset's", o.users))
	}
	return errors.Join(errs...)
}

func (o *stepOptions) run(ctx context.Context, flags *benchFlags) (_ *benchReport, err error) {
	inner, err := openDevice(o.device, "", false, flags.threads)
	if err != nil {
		return nil, err
	}
	dev := timed.Wrap(inner)
	defer func() { err = errors.Join(err, dev.Close()) }()
	if o.shards == 0 {
		o.shards = dev.Lanes()
	}
	w, closeAll, err := o.open(ctx, dev)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	w.engine.Witness(o.witness)
	return w.measure(ctx, flags.steps)
}

func (o *stepOptions) open(ctx context.Context, dev *timed.Device) (*workload, func(), error) {
	if o.preset == presetPeer {
		what, err := peerWhat()
		if err != nil {
			return nil, nil, err
		}
		users := peerUsers
		if o.users > 0 {
			users = o.users * o.shards
		}
		what.Precision, what.Shards, what.UsersPerShard = o.dtype, o.shards, (users+o.shards-1)/o.shards
		w, closeAll, err := openPeer(dev, what, users)
		return w, closeAll, withCode(exitUsage, err)
	}
	spec, err := job.Default(o.preset)
	if err != nil {
		return nil, nil, err
	}
	what := spec.What
	what.Precision, what.Shards, what.Steps = o.dtype, o.shards, 1<<30
	if o.users > 0 {
		what.UsersPerShard = o.users
	}
	return openSynthetic(ctx, dev, what, o.preset)
}

// openSynthetic makes a data set for the job: all its users are in every step, with histories so much longer than the window that
// nearly all windows are full, and a window spans about the horizon.
func openSynthetic(ctx context.Context, dev *timed.Device, what job.What, name string) (_ *workload, _ func(), err error) {
	const windows = 16
	dir, err := os.MkdirTemp("", "ringleader-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() // opening reads all that is needed into its own cache
	data := dir + "/data"
	if _, err := synth.Write(data, synth.Options{
		Users: what.Shards * what.UsersPerShard, Items: 20000, Actions: windows * what.Model.Window, Topics: 16, Dim: min(what.Model.Width, 256),
		Days: windows * what.Loss.HorizonDays, Holdout: -1, Seed: 1,
	}); err != nil {
		return nil, nil, err
	}
	ds, closeData, err := openData(ctx, data)
	if err != nil {
		return nil, nil, err
	}
	what.Data, what.DataDigest = "synthetic", ds.Meta().Digest
	w, closeTraining, err := openTraining(dev, what, ds, name)
	if err != nil {
		return nil, nil, errors.Join(withCode(exitUsage, err), closeData())
	}
	return w, func() {
		closeTraining()
		_ = closeData() // it was only read
	}, nil
}
