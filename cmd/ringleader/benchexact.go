package main

import (
	"context"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// fixedCodec is exact64.
type fixedCodec struct {
	*vector
	acc  device.I64 // of a piece
	bad  device.I64
	sums []int64
	size int
}

func openFixed(n, size int) (codec, error) {
	v, err := openVector(n)
	if err != nil {
		return nil, err
	}
	c := &fixedCodec{vector: v, sums: make([]int64, n), size: size}
	if c.acc, err = device.Alloc[int64](v.dev, min(n, device.Piece)); err == nil {
		c.bad, err = device.Alloc[int64](v.dev, 3)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *fixedCodec) close() {
	c.dev.Free(c.acc.Addr)
	c.dev.Free(c.bad.Addr)
	c.vector.close()
}

func (c *fixedCodec) bound(size int) float64 { return math.Ldexp(float64(size), -exact.FractionBits-1) }

func (c *fixedCodec) sum(ctx context.Context, g *allreduce.Group, step ringleader.Step) error {
	err := buckets(len(c.sums), func(b, lo, hi int) error {
		pieces(lo, hi, func(lo, hi int) {
			acc := c.acc.Slice(0, hi-lo)
			device.Zero(c.lane, acc)
			c.lane.ToFixed(acc, c.x.Slice(lo, hi), exact.Limit(c.size), c.bad)
			device.Download(c.lane, c.sums[lo:hi], acc)
		})
		return g.SumInt64(ctx, step, uint32(b), c.sums[lo:hi])
	})
	if err != nil {
		return err
	}
	pieces(0, len(c.sums), func(lo, hi int) {
		acc := c.acc.Slice(0, hi-lo)
		device.Upload(c.lane, acc, c.sums[lo:hi])
		c.lane.FromFixed(c.x.Slice(lo, hi), acc, 1)
	})
	return c.lane.Sync()
}

// blockCodec is exact16 or exact32. The exponents are the data's own, as if they were those of a step before that was like this one.
type blockCodec[W interface {
	exact.Word
	device.Number
}] struct {
	*vector
	acc       device.Buf[W] // of a piece
	bad       device.I64
	exponents device.I8
	sums      []W
	fraction  int

	to   func(l device.Lane, acc device.Buf[W], x device.F32, exponents device.I8, fraction int, bad device.I64)
	from func(l device.Lane, x device.F32, acc device.Buf[W], exponents device.I8, fraction int, divisor float64)
	add  func(g *allreduce.Group, ctx context.Context, step ringleader.Step, bucket uint32, data []W) error
}

// openBlocks makes an opener of the codec of words of so many bits.
func openBlocks[W interface {
	exact.Word
	device.Number
}](bits int,
	to func(l device.Lane, acc device.Buf[W], x device.F32, exponents device.I8, fraction int, bad device.I64),
	from func(l device.Lane, x device.F32, acc device.Buf[W], exponents device.I8, fraction int, divisor float64),
	add func(g *allreduce.Group, ctx context.Context, step ringleader.Step, bucket uint32, data []W) error,
) func(n, size int) (codec, error) {
	return func(n, size int) (codec, error) {
		v, err := openVector(n)
		if err != nil {
			return nil, err
		}
		c := &blockCodec[W]{vector: v, sums: make([]W, n), fraction: exact.Fraction(bits, size), to: to, from: from, add: add}
		if c.acc, err = device.Alloc[W](v.dev, min(n, device.Piece)); err == nil {
			c.bad, err = device.Alloc[int64](v.dev, 3)
		}
		if err == nil {
			c.exponents, err = device.Alloc[int8](v.dev, exact.Blocks(n))
		}
		if err != nil {
			c.close()
			return nil, err
		}
		device.Upload(c.lane, c.exponents, exponentsOf(n, size))
		return c, nil
	}
}

// exponentsOf are the exponents of what all ranks' elements are.
func exponentsOf(n, size int) []int8 {
	e := make([]int8, exact.Blocks(n))
	for b := range e {
		e[b] = exact.MinExponent
	}
	x := make([]float32, n)
	for rank := range size {
		for i := range x {
			x[i] = element(rank, i)
		}
		exact.RaiseExponents(e, x)
	}
	return e
}

func (c *blockCodec[W]) close() {
	c.dev.Free(c.acc.Addr)
	c.dev.Free(c.bad.Addr)
	c.dev.Free(c.exponents.Addr)
	c.vector.close()
}

// bound: magnitudes are below 1, so that exponents are at most 0; the last rounding is that of float32.
func (c *blockCodec[W]) bound(size int) float64 {
	return float64(size) * (exact.BlockError(0, c.fraction) + 0x1p-24)
}

func (c *blockCodec[W]) sum(ctx context.Context, g *allreduce.Group, step ringleader.Step) error {
	n := len(c.sums)
	err := buckets(n, func(b, lo, hi int) error {
		pieces(lo, hi, func(lo, hi int) {
			acc := c.acc.Slice(0, hi-lo)
			device.Zero(c.lane, acc)
			c.to(c.lane, acc, c.x.Slice(lo, hi), c.ofBlocks(lo, hi), c.fraction, c.bad)
			device.Download(c.lane, c.sums[lo:hi], acc)
		})
		return c.add(g, ctx, step, uint32(b), c.sums[lo:hi])
	})
	if err != nil {
		return err
	}
	pieces(0, n, func(lo, hi int) {
		acc := c.acc.Slice(0, hi-lo)
		device.Upload(c.lane, acc, c.sums[lo:hi])
		c.from(c.lane, c.x.Slice(lo, hi), acc, c.ofBlocks(lo, hi), c.fraction, 1)
	})
	var bad [2]int64
	device.Download(c.lane, bad[:], c.bad)
	if bad != [2]int64{} {
		return fmt.Errorf("%d NaN and %d elements beyond the exponents of their blocks", bad[0], bad[1])
	}
	return c.lane.Sync()
}

// ofBlocks are the exponents of elements lo..hi-1; pieces begin with a block.
func (c *blockCodec[W]) ofBlocks(lo, hi int) device.I8 {
	return c.exponents.Slice(lo/exact.BlockElements, exact.Blocks(hi))
}
