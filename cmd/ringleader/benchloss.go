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
	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader/device"
)

func benchLoss() *cobra.Command {
	var flags benchFlags
	var o lossBench
	cmd := &cobra.Command{
		Use:   "loss",
		Short: "Time the exact dense all-action loss alone, forward and backward, and check it",
		Long: "The embeddings are random, every position has --targets positives, the next ones of its user, and all positions of a shard share a pool\n" +
			"of negatives, in which a user's own positives are masked. Both gradients are computed, as in training. What is measured is checked in the same\n" +
			"run against float64: all of a small problem, some positions of the large one, and what all its gradients must have in common.",
		Example: "  ringleader bench loss --users 16 --json loss.json\n  ringleader bench loss --device cuda:0 --dtype bfloat16",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.check(), o.check()); err != nil {
				return withCode(exitUsage, err)
			}
			r, err := o.run(cmd.Context(), &flags)
			if err != nil {
				return err
			}
			if flags.json != "" {
				if err := writeJSON(cmd.OutOrStdout(), flags.json, r); err != nil {
					return fmt.Errorf("--json: %w", err)
				}
			}
			if flags.json != "-" {
				if err := r.print(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return r.verdict()
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.device, "device", "cpu", "what to compute on: "+deviceNames)
	f.StringVar(&o.dtype, "dtype", "float32", "of matrix products: float32, bfloat16")
	f.IntVar(&o.users, "users", 128, "users, of all shards together")
	f.IntVar(&o.positions, "positions", 255, "positions of each user")
	f.IntVar(&o.targets, "targets", 64, "positives of each position")
	f.IntVar(&o.pool, "pool", 13192, "negatives of each shard")
	f.IntVar(&o.dim, "dim", 256, "width of an embedding")
	f.IntVar(&o.shards, "shards", 0, "shards that the users are dealt to (default: one a thread, but no more than users)")
	flags.register(cmd)
	return cmd
}

type lossBench struct {
	device, dtype                                string
	users, positions, targets, pool, dim, shards int
}

func (o *lossBench) check() error {
	var errs []error
	within := func(flag string, value, lowest, highest int) {
		if value < lowest || value > highest {
			errs = append(errs, fmt.Errorf("%s %d: allowed: %d to %d", flag, value, lowest, highest))
		}
	}
	if o.dtype != "float32" && o.dtype != "bfloat16" {
		errs = append(errs, fmt.Errorf("--dtype %q: allowed: float32, bfloat16", o.dtype))
	}
	within("--users", o.users, 1, 1<<16)
	within("--positions", o.positions, 1, 1<<12)
	within("--targets", o.targets, 1, 1<<12)
	within("--pool", o.pool, 1, 1<<20)
	within("--dim", o.dim, 1, 1<<12)
	within("--shards", o.shards, 0, o.users)
	return errors.Join(errs...)
}

// lossReport is what was measured. Times are of one computation of all shards.
type lossReport struct {
	Device    string `json:"device"`
	DType     string `json:"dtype"`
	Threads   int    `json:"threads"`
	Shards    int    `json:"shards"`
	Users     int    `json:"users"`
	Positions int    `json:"positions"` // of a user
	Targets   int    `json:"targets"`   // of a position
	Pool      int    `json:"pool"`      // of a shard
	Dim       int    `json:"dim"`
	Class     string `json:"class"` // numerics class
	Processor string `json:"cpu"`
	Program   string `json:"program"`
	Steps     int    `json:"steps"`

	StepMedian float64 `json:"step_s_median"`
	StepMin    float64 `json:"step_s_min"`
	StepMax    float64 `json:"step_s_max"`
	CPU        float64 `json:"cpu_s"` // median
	TokensPerS float64 `json:"tokens_per_s"`
	GFLOPs     float64 `json:"gflops"` // a second: the scores with the pool three times, once forward and twice back, and those with targets
	PeakRSS    float64 `json:"peak_rss_mib"`
	PeakDevice float64 `json:"peak_device_mib,omitempty"` // of a GPU's memory; that of the host is in PeakRSS
	Digest     string  `json:"digest"`                    // of the losses and all gradients; a repetition gave the same

	Errors    lossErrors `json:"errors"`
	Tolerance float64    `json:"tolerance"` // of each of them
}

func (r *lossReport) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "loss\t%d users of %d positions with %d targets, %s, %d shards of %d negatives, width %d\n", r.Users, r.Positions, r.Targets, r.DType, r.Shards, r.Pool, r.Dim)
	fmt.Fprintf(w, "machine\t%s, %s, %d threads, class %s\n", r.Processor, r.Device, r.Threads, r.Class)
	fmt.Fprintf(w, "forward and backward\t%.4f s (%.4f to %.4f, %d times), %.3f CPU s\n", r.StepMedian, r.StepMin, r.StepMax, r.Steps, r.CPU)
	fmt.Fprintf(w, "speed\t%.0f tokens/s, %.1f GFLOP/s\n", r.TokensPerS, r.GFLOPs)
	fmt.Fprintf(w, "peak memory\t%.0f MiB\n", r.PeakRSS)
	if r.PeakDevice > 0 {
		fmt.Fprintf(w, "peak memory of %s\t%.0f MiB\n", r.Device, r.PeakDevice)
	}
	fmt.Fprintf(w, "digest\t%s\n", r.Digest)
	fmt.Fprintf(w, "errors\t%v, allowed: %.0e\n", r.Errors, r.Tolerance)
	return w.Flush()
}

// verdict is what the exit code says: a figure of something wrong is worth nothing.
func (r *lossReport) verdict() error {
	if e := r.Errors.worst(); !(e <= r.Tolerance) {
		return fmt.Errorf("the loss on %s is wrong: errors against float64 are %v, allowed: %.0e of the largest element", r.Device, r.Errors, r.Tolerance)
	}
	return nil
}

// lossTolerance is what devices are allowed in devicetest; sums are longer here than there in float32.
func lossTolerance(dtype string) float64 {
	if dtype == "bfloat16" {
		return .1
	}
	return 5e-5
}

func (o *lossBench) run(ctx context.Context, flags *benchFlags) (_ *lossReport, err error) {
	dev, err := openDevice(o.device, "", false, flags.threads)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if o.shards == 0 {
		o.shards = min(dev.Lanes(), o.users)
	}
	r := &lossReport{Device: dev.Name(), DType: o.dtype, Threads: dev.Lanes(), Shards: o.shards, Users: o.users, Positions: o.positions, Targets: o.targets, Pool: o.pool,
		Dim: o.dim, Class: dev.Class(), Processor: processor(), Program: version, Steps: flags.steps, Tolerance: lossTolerance(o.dtype)}
	small, err := o.smallErrors(dev)
	if err != nil {
		return nil, err
	}
	var shards []*lossShard
	defer func() {
		for _, s := range shards {
			err = errors.Join(err, s.close())
		}
	}()
	for i := range o.shards {
		users := o.users*(i+1)/o.shards - o.users*i/o.shards
		s, err := openLossShard(dev, newLossProblem(uint64(i), users, o.positions, o.targets, o.pool, o.dim), o.dtype)
		if err != nil {
			return nil, err
		}
		shards = append(shards, s)
	}
	if err := r.time(ctx, shards, dev.Lanes()); err != nil {
		return nil, err
	}
	if r.PeakRSS, err = peakRSS(); err != nil {
		return nil, err
	}
	r.PeakDevice = peakDevice(dev)
	r.Errors, err = shards[0].errors()
	r.Errors = r.Errors.max(small)
	return r, err
}

// time measures; the first two computations warm up, and must give the bits of the last.
func (r *lossReport) time(ctx context.Context, shards []*lossShard, lanes int) error {
	var wall, cpu []float64
	for i := range warmUp + r.Steps {
		before, began := cpuTime(), time.Now()
		var g errgroup.Group
		g.SetLimit(lanes)
		for _, s := range shards {
			g.Go(s.compute)
		}
		if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
			return err
		}
		if i >= warmUp {
			wall, cpu = append(wall, time.Since(began).Seconds()), append(cpu, (cpuTime()-before).Seconds())
		}
		if i == 0 || i == warmUp+r.Steps-1 {
			digest, err := lossDigest(shards)
			if err == nil && i > 0 && digest != r.Digest {
				err = fmt.Errorf("the loss on %s is not repeatable: digest %s, then %s", r.Device, r.Digest, digest)
			}
			if err != nil {
				return err
			}
			r.Digest = digest
		}
	}
	tokens := float64(r.Users * r.Positions)
	r.StepMin, r.StepMedian, r.StepMax, r.CPU = slices.Min(wall), median(wall), slices.Max(wall), median(cpu)
	r.TokensPerS = tokens / r.StepMedian
	r.GFLOPs = 3 * 2 * tokens * float64(r.Pool+r.Targets) * float64(r.Dim) / r.StepMedian / 1e9
	return nil
}

// lossShard is a problem on a device, with a lane that computes it.
type lossShard struct {
	*lossProblem
	dev    device.Device
	lane   device.Lane
	args   device.AllAction
	out    device.F64
	du, di device.Mat
	held   []uintptr
}

func openLossShard(dev device.Device, p *lossProblem, dtype string) (_ *lossShard, err error) {
	s := &lossShard{lossProblem: p, dev: dev}
	if s.lane, err = dev.NewLane(nil); err != nil {
		return nil, err
	}
	if dtype == "bfloat16" {
		s.lane.SetPrecision(device.BFloat16)
	}
	tokens := len(p.weight)
	s.args = device.AllAction{
		Users: device.Mat{Data: put(s, &err, p.u), Rows: tokens, Cols: p.dim, Stride: p.dim},
		Items: device.Mat{Data: put(s, &err, p.v), Rows: p.items, Cols: p.dim, Stride: p.dim},
		Pool:  p.pool, PoolBias: put(s, &err, p.poolBias), Mask: put(s, &err, p.mask), Seg: device.Segments{Host: p.offsets, Dev: put(s, &err, p.offsets)},
		Lo: p.lo, Hi: p.hi, Weight: put(s, &err, p.weight), Positive: put(s, &err, p.positive), PosBias: put(s, &err, p.posBias), InvTau: lossInvTau,
	}
	s.out = put(s, &err, make([]float64, 2))
	s.du = device.Mat{Data: put(s, &err, make([]float32, len(p.u))), Rows: tokens, Cols: p.dim, Stride: p.dim}
	s.di = device.Mat{Data: put(s, &err, make([]float32, len(p.v))), Rows: p.items, Cols: p.dim, Stride: p.dim}
	if err = errors.Join(err, s.lane.Sync()); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// put is x on the device, unless something failed before.
func put[T device.Number](s *lossShard, err *error, x []T) device.Buf[T] {
	if *err != nil {
		return device.Buf[T]{}
	}
	var b device.Buf[T]
	if b, *err = device.Alloc[T](s.dev, len(x)); *err == nil {
		s.held = append(s.held, b.Addr)
		device.Upload(s.lane, b, x)
	}
	return b
}

// compute waits for the result.
func (s *lossShard) compute() error {
	device.Zero(s.lane, s.out)
	s.lane.DenseAllAction(s.out, s.du, s.di, &s.args)
	return s.lane.Sync()
}

// get downloads.
func get[T device.Number](s *lossShard, b device.Buf[T]) []T {
	x := make([]T, b.N)
	device.Download(s.lane, x, b)
	return x
}

func (s *lossShard) close() error {
	err := s.lane.Close()
	for _, addr := range s.held {
		s.dev.Free(addr)
	}
	return err
}

// lossDigest is of all bits that the shards computed.
func lossDigest(shards []*lossShard) (string, error) {
	var sum uint64
	for _, s := range shards {
		for _, x := range []device.F32{{Addr: s.out.Addr, N: 2 * s.out.N}, s.du.Data, s.di.Data} {
			sum = sum*0x9E3779B97F4A7C15 + s.lane.Hash(x, 0)
		}
		if err := s.lane.Sync(); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%016x", sum), nil
}
