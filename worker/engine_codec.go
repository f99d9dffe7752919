package worker

import (
	"context"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// openSum makes room for the job's reduction.
func (e *Engine) openSum() (gradientSum, error) {
	switch r := e.what.Reduction; r {
	case "exact64":
		return openSums[int64](e, fixed{exact.Limit(e.what.Shards)})
	case "exact32":
		return openSums[int32](e, &blocks[int32]{e.exponents, exact.Fraction(32, e.what.Shards), device.Lane.ToBlocks32, device.Lane.FromBlocks32, (*allreduce.Group).SumInt32})
	case "exact16":
		return openSums[int16](e, &blocks[int16]{e.exponents, exact.Fraction(16, e.what.Shards), device.Lane.ToBlocks16, device.Lane.FromBlocks16, (*allreduce.Group).SumInt16})
	case "float32":
		return openSums[float32](e, plain{(*allreduce.Group).SumFloat32})
	case "bfloat16":
		return openSums[float32](e, plain{sumBFloat16})
	default:
		return nil, &jobError{fmt.Errorf("what.reduction is %q: this program does not know it", r)}
	}
}

// ringSum is one of the sums of allreduce.Group.
type ringSum[T device.Number] func(group *allreduce.Group, ctx context.Context, step ringleader.Step, bucket uint32, part []T) error

// fixed is exact64.
type fixed struct{ limit float32 }

func (c fixed) add(l *lane, sum device.I64, grad device.F32, _ int, counts device.I64) {
	l.ops.ToFixed(sum, grad, c.limit, counts)
}

func (fixed) good(l *lane) bool { return l.refused == 0 }

func (fixed) same(total, added int64) bool { return total == added }

func (c fixed) limits() func(int) float32 { return func(int) float32 { return c.limit } }

func (c fixed) most() float32 { return c.limit }

func (fixed) ring(ctx context.Context, group *allreduce.Group, step ringleader.Step, bucket uint32, part []int64) error {
	return group.SumInt64(ctx, step, bucket, part)
}

func (fixed) total(part []int64) (int64, bool) { return exact.SumInt64(part), true }

func (fixed) mean(l *lane, grad device.F32, sum device.I64, host []int64, _ int, users int64) {
	device.Upload(l.ops, sum, host)
	l.ops.FromFixed(grad, sum, float64(users))
}

// blockWord is what an element travels as in exact32 and exact16.
type blockWord interface {
	exact.Word
	device.Number
}

// blocks is exact32 and exact16.
type blocks[W blockWord] struct {
	exponents *exponents
	fraction  int
	to        func(l device.Lane, acc device.Buf[W], x device.F32, exponents device.I8, fraction int, bad device.I64)
	from      func(l device.Lane, x device.F32, acc device.Buf[W], exponents device.I8, fraction int, divisor float64)
	over      ringSum[W]
}

func (c *blocks[W]) add(l *lane, sum device.Buf[W], grad device.F32, lo int, counts device.I64) {
	first := lo / exact.BlockElements // buckets are whole blocks, but for the last
	last := first + exact.Blocks(grad.N)
	l.ops.RaiseExponents(c.exponents.seen[l.index].Slice(first, last), grad)
	c.to(l.ops, sum, grad, c.exponents.used.Slice(first, last), c.fraction, counts)
}

func (*blocks[W]) good(l *lane) bool { return l.refused == 0 }

func (*blocks[W]) same(total, added int64) bool { return int32(total) == int32(added) }

func (c *blocks[W]) limits() func(int) float32 {
	used := c.exponents.by(c.exponents.wide)
	return func(i int) float32 {
		return float32(math.Ldexp(math.Ldexp(1, c.fraction)-.5, int(used[i/exact.BlockElements])-c.fraction))
	}
}

func (*blocks[W]) most() float32 { return float32(math.Ldexp(1, exact.MaxExponent)) }

func (c *blocks[W]) ring(ctx context.Context, group *allreduce.Group, step ringleader.Step, bucket uint32, part []W) error {
	return c.over(group, ctx, step, bucket, part)
}

func (c *blocks[W]) total(part []W) (int64, bool) { return exact.SumInt64(part), true }

func (c *blocks[W]) mean(l *lane, grad device.F32, sum device.Buf[W], host []W, lo int, users int64) {
	device.Upload(l.ops, sum, host)
	first := lo / exact.BlockElements // pieces are whole blocks, but for the last
	c.from(l.ops, grad, sum, c.exponents.used.Slice(first, first+exact.Blocks(grad.N)), c.fraction, float64(users))
}

// plain is float32 and bfloat16: sums that are rounded, and depend on who adds what.
type plain struct{ over ringSum[float32] }

func (plain) add(l *lane, sum, grad device.F32, _ int, _ device.I64) {
	to := device.Matrix(sum, 1, sum.N)
	l.ops.Add(to, to, device.Matrix(grad, 1, sum.N))
}

func (plain) good(l *lane) bool {
	square := l.ops.SquaredNorm(l.grad)
	return !math.IsNaN(square) && !math.IsInf(square, 0)
}

func (plain) same(int64, int64) bool { return true }

func (plain) limits() func(int) float32 { return func(int) float32 { return float32(math.Inf(1)) } }

func (plain) most() float32 { return float32(math.Inf(1)) }

func (c plain) ring(ctx context.Context, group *allreduce.Group, step ringleader.Step, bucket uint32, part []float32) error {
	return c.over(group, ctx, step, bucket, part)
}

func (plain) total([]float32) (int64, bool) { return 0, false }

func (plain) mean(l *lane, grad, _ device.F32, host []float32, _ int, users int64) {
	inverse := float32(1 / float64(users))
	for i := range host {
		host[i] *= inverse
	}
	device.Upload(l.ops, grad, host)
}

// sumBFloat16 sums what remains of floats in bfloat16.
func sumBFloat16(group *allreduce.Group, ctx context.Context, step ringleader.Step, bucket uint32, part []float32) error {
	half := make([]uint16, len(part))
	for i, x := range part {
		half[i] = exact.ToBFloat16(x)
	}
	if err := group.SumBFloat16(ctx, step, bucket, half); err != nil {
		return err
	}
	for i, h := range half {
		part[i] = exact.FromBFloat16(h)
	}
	return nil
}
