package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/timed"
)

// replay runs the matrix products of each lane on a lane of its own, all at once, with random numbers and nothing between them: what a
// step could not be faster than, however little the rest cost.
func replay(ctx context.Context, dev device.Device, lanes [][]timed.Product, p device.Precision) (cost replayCost, err error) {
	var all []*replayLane
	defer func() {
		for _, l := range all {
			err = errors.Join(err, l.close(dev))
		}
	}()
	for i, products := range lanes {
		l, err := openReplay(dev, products, uint64(i))
		if err != nil {
			return cost, err
		}
		l.ops.SetPrecision(p)
		all = append(all, l)
		for _, p := range products {
			cost.flops += p.FLOPs()
		}
	}
	var wall, cpu []float64
	for range 1 + replays {
		before, began := cpuTime(), time.Now()
		var wg sync.WaitGroup
		for _, l := range all {
			wg.Go(func() { l.run(ctx) })
		}
		wg.Wait()
		for _, l := range all {
			if err := errors.Join(l.ops.Sync(), ctx.Err()); err != nil {
				return cost, err
			}
		}
		wall, cpu = append(wall, time.Since(began).Seconds()), append(cpu, (cpuTime()-before).Seconds())
	}
	cost.wall, cost.cpu = median(wall[1:]), median(cpu[1:]) // the first warms up
	return cost, nil
}

// replayCost are seconds, medians of some runs, and the operations of one.
type replayCost struct{ wall, cpu, flops float64 }

// replayLane is one lane's products; all share the memory of the largest operands.
type replayLane struct {
	ops      device.Lane
	products []timed.Product
	a, b, c  device.F32
}

func openReplay(dev device.Device, products []timed.Product, seed uint64) (_ *replayLane, err error) {
	l := &replayLane{products: products}
	var a, b, c int
	for _, p := range products {
		x, y, z := operands(p)
		a, b, c = max(a, x.Rows*x.Stride), max(b, y.Rows*y.Stride), max(c, z.Rows*z.Stride)
	}
	if l.ops, err = dev.NewLane(nil); err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, operand := range []struct {
		to *device.F32
		n  int
	}{{&l.a, a}, {&l.b, b}, {&l.c, c}} {
		if *operand.to, err = device.Alloc[float32](dev, operand.n); err != nil {
			return nil, errors.Join(err, l.close(dev))
		}
		device.Upload(l.ops, *operand.to, normals(rng, operand.n))
	}
	return l, nil
}

func (l *replayLane) run(ctx context.Context) {
	for _, p := range l.products {
		if ctx.Err() != nil {
			return
		}
		a, b, c := operands(p)
		a.Data, b.Data, c.Data = l.a, l.b, l.c
		l.ops.MatMul(c, 1, a, p.TransA, b, p.TransB, 0)
	}
}

// operands are the shapes of a product's matrices. Their rows are as far apart as those of the model's activations: whole cache lines,
// but not a multiple of 512 bytes, at which they would share few sets of a cache.
func operands(p timed.Product) (a, b, c device.Mat) {
	shape := func(rows, cols int, transposed bool) device.Mat {
		if transposed {
			rows, cols = cols, rows
		}
		stride := (cols + 15) / 16 * 16
		if stride%128 == 0 {
			stride += 16
		}
		return device.Mat{Rows: rows, Cols: cols, Stride: stride}
	}
	return shape(p.M, p.K, p.TransA), shape(p.K, p.N, p.TransB), shape(p.M, p.N, false)
}

func (l *replayLane) close(dev device.Device) error {
	for _, b := range []device.F32{l.a, l.b, l.c} {
		if b.Addr != 0 {
			dev.Free(b.Addr)
		}
	}
	if err := l.ops.Close(); err != nil {
		return fmt.Errorf("close lane: %w", err)
	}
	return nil
}

func normals(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
