package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/timed"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
	"github.com/ringleader-dev/ringleader/worker"
)

// Steps that are not measured: the first reserve memory.
const warmUp = 2

// Steps whose operators are timed, and how often the matrix products of one are repeated.
const (
	timedSteps = 3
	replays    = 5
)

// workload is what a benchmark runs steps of: the engine is the very one that a worker trains with.
type workload struct {
	name   string
	what   job.What
	engine *worker.Engine
	model  *model.Model
	dev    *timed.Device
	// load is what a step has to compute.
	load func(step ringleader.Step) stepLoad
}

// stepLoad is the size of a step.
type stepLoad struct {
	users, tokens int
	squares       int // sum over users of the square of their tokens
	items         int // that go through the item tower
	learning      bool
	draws         int           // calls of the sampler; 0: there is none
	drawing       time.Duration // CPU time of drawing users, windows, positives and negatives
}

// flops are the operations of a step, multiplications and additions, as one counts them for a plain implementation: three times those
// of the forward for every linear map and for attention (without regard to its mask), and the scores of all tokens with all negatives,
// forward and once or (if the items learn) twice back. Positives are not counted.
func (w *workload) flops(s stepLoad) float64 {
	var maps, tower float64
	for _, t := range w.model.Tensors() {
		switch {
		case !t.Decay: // no linear map
		case strings.HasPrefix(t.Name, "items."):
			tower += 2 * float64(t.Len())
		default:
			maps += 2 * float64(t.Len())
		}
	}
	m, passes := &w.what.Model, 2.
	if s.learning {
		passes = 3
	}
	attention := 4 * float64(m.Layers) * float64(m.Width) * float64(s.squares)
	pool := 2 * float64(w.what.Negatives.InBatch+w.what.Negatives.Random) * float64(m.Dim)
	return 3*(maps*float64(s.tokens)+attention+tower*float64(s.items)) + passes*pool*float64(s.tokens)
}

// stepper runs steps in a gang of one.
type stepper struct {
	engine  *worker.Engine
	group   *allreduce.Group
	trailer *exact.Trailer
	shards  []ringleader.Shard
	widened int // steps that took a second pass
}

func newStepper(w *workload) (*stepper, error) {
	group, err := allreduce.NewGroup(allreduce.DefaultConfig(), nil, nil)
	if err != nil {
		return nil, err
	}
	s := &stepper{engine: w.engine, group: group, trailer: w.engine.NewTrailer(1)}
	for i := range w.what.Shards {
		s.shards = append(s.shards, ringleader.Shard(i))
	}
	return s, nil
}

// step is what a worker does between two reports.
func (s *stepper) step(ctx context.Context) error {
	again, err := s.pass(ctx, false)
	if again {
		s.widened++
		_, err = s.pass(ctx, true)
	}
	if err != nil {
		return err
	}
	return s.engine.Update(s.trailer)
}

func (s *stepper) pass(ctx context.Context, wide bool) (again bool, err error) {
	s.trailer.Reset()
	s.engine.Begin(worker.Pass{Wide: wide})
	if err := s.engine.Compute(ctx, s.trailer, s.shards); err != nil {
		return false, err
	}
	s.trailer.SetDigest(0, s.engine.Digest(wide))
	if err := s.engine.Reduce(ctx, s.group, s.trailer); err != nil {
		return false, err
	}
	return s.engine.Verify(s.trailer)
}

// measure runs and times steps, then takes some apart.
func (w *workload) measure(ctx context.Context, steps int) (*benchReport, error) {
	r := &benchReport{
		Workload: w.name, DType: w.what.Precision, Threads: w.dev.Lanes(), Shards: w.what.Shards, Parameters: w.model.Size(), Steps: steps,
		Negatives: w.what.Negatives.InBatch + w.what.Negatives.Random, Class: w.dev.Class(), Processor: processor(), Program: version,
	}
	s, err := newStepper(w)
	if err != nil {
		return nil, err
	}
	defer s.group.Close(nil)
	if err := w.engine.Initialise(); err != nil {
		return nil, err
	}
	for range warmUp {
		if err := s.step(ctx); err != nil {
			return nil, err
		}
	}
	if err := w.time(ctx, s, r); err != nil {
		return nil, err
	}
	r.Digest = w.engine.Digest(false).String()
	if r.PeakRSS, err = peakRSS(); err != nil {
		return nil, err
	}
	r.PeakDevice = peakDevice(w.dev.Device)
	return r, w.takeApart(ctx, s, r)
}

// time measures the steps as they are.
func (w *workload) time(ctx context.Context, s *stepper, r *benchReport) error {
	var wall, cpu []float64
	var sum stepLoad
	var flops float64
	for i := range r.Steps {
		before, began := cpuTime(), time.Now()
		if err := s.step(ctx); err != nil {
			return err
		}
		wall, cpu = append(wall, time.Since(began).Seconds()), append(cpu, (cpuTime()-before).Seconds())
		load := w.load(ringleader.Step(warmUp + i))
		flops += w.flops(load)
		sum.users, sum.tokens, sum.draws, sum.drawing = sum.users+load.users, sum.tokens+load.tokens, sum.draws+load.draws, sum.drawing+load.drawing
	}
	r.StepMin, r.StepMedian, r.StepMax, r.CPU = slices.Min(wall), median(wall), slices.Max(wall), median(cpu)
	n := float64(r.Steps)
	r.StepMean, r.CPUMean = total(wall)/n, total(cpu)/n
	r.Users, r.Tokens = sum.users/r.Steps, sum.tokens/r.Steps
	r.UsersPerS, r.TokensPerS, r.GFLOPs = float64(sum.users)/n/r.StepMedian, float64(sum.tokens)/n/r.StepMedian, flops/n/r.StepMedian/1e9
	if sum.draws > 0 {
		seconds := sum.drawing.Seconds() / n
		r.Input = &benchCost{Operator: "input", Calls: float64(sum.draws) / n, CPU: seconds, Share: seconds / r.CPU}
	}
	return nil
}

// takeApart says where the CPU time of a step goes, in steps of their own: timing operators costs a little, too.
func (w *workload) takeApart(ctx context.Context, s *stepper, r *benchReport) error {
	defer w.dev.Record(timed.Nothing)
	w.dev.Record(timed.Costs)
	before := cpuTime()
	for range timedSteps {
		if err := s.step(ctx); err != nil {
			return err
		}
	}
	total := (cpuTime() - before).Seconds() / timedSteps
	w.dev.Record(timed.Products)
	if err := s.step(ctx); err != nil {
		return err
	}
	w.dev.Record(timed.Nothing)
	inside := 0.
	for _, c := range w.dev.Costs() {
		cpu := c.CPU.Seconds() / timedSteps
		inside += cpu
		r.Breakdown = append(r.Breakdown, benchCost{c.Operator, float64(c.Calls) / timedSteps, cpu, cpu / total})
	}
	r.OutsideCPU, r.Outside = total-inside, 1-inside/total
	precision := device.Float32
	if w.what.Precision == "bfloat16" {
		precision = device.BFloat16
	}
	products, err := replay(ctx, w.dev, w.dev.Products(), precision)
	if err != nil {
		return fmt.Errorf("replay matrix products: %w", err)
	}
	r.MatMul, r.MatMulCPU, r.MatMulGFLOPs = products.wall, products.cpu, products.flops/products.wall/1e9
	return nil
}

// cpuTime is the user and system time of the process.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("read CPU time: %v", err)) // it has no other reason to fail than wrong arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func total(x []float64) (sum float64) {
	for _, v := range x {
		sum += v
	}
	return sum
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
