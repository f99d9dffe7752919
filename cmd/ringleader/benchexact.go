package main

import (
	"context"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/worker"
)

// ahead is how many buckets are on their way from floats to floats: one is finished, one travels, one is made ready.
const ahead = 3

// exactCodec sums floats as words. Buckets are as many elements as the ring sums at a time in training; one thread converts them, beside the ring.
type exactCodec[W device.Number] struct {
	*vector
	bad    device.I64
	bucket int                  // elements
	words  [ahead]device.Buf[W] // of the buckets under way
	host   [ahead][]W           // the same, as the ring sees it

	to    func(acc device.Buf[W], lo, hi int)
	from  func(acc device.Buf[W], lo, hi int)
	ring  func(g *allreduce.Group, ctx context.Context, step ringleader.Step, bucket uint32, data []W) error
	worst func(size int) float64
}

// openExact makes a codec that lacks what it converts by.
func openExact[W device.Number](n int) (c *exactCodec[W], err error) {
	c = &exactCodec[W]{}
	if c.vector, err = openVector(n); err != nil {
		return nil, err
	}
	c.bucket = min(n, worker.Bucket(n, device.Buf[W]{N: 1}.Bytes()))
	if c.bad, err = device.Alloc[int64](c.dev, 3); err != nil {
		c.close()
		return nil, err
	}
	for i := range c.words {
		if c.words[i], err = device.Alloc[W](c.dev, c.bucket); err != nil {
			c.close()
			return nil, err
		}
		c.host[i] = device.View(c.dev, c.words[i])
	}
	return c, nil
}

func (c *exactCodec[W]) bound(size int) float64 { return c.worst(size) }

func (c *exactCodec[W]) sum(ctx context.Context, g *allreduce.Group, step ringleader.Step) error {
	bucket := c.bucket
	p := allreduce.Pipeline{
		Buckets: (c.x.N + bucket - 1) / bucket,
		Ahead:   ahead,
		Before: func(b int) error {
			pieces(b*bucket, min(c.x.N, (b+1)*bucket), func(at, lo, hi int) {
				words := c.words[b%ahead].Slice(at, at+hi-lo)
				device.Zero(c.lane, words)
				c.to(words, lo, hi)
			})
			return c.lane.Sync()
		},
		Sum: func(b int) error {
			return c.ring(g, ctx, step, uint32(b), c.host[b%ahead][:min(bucket, c.x.N-b*bucket)])
		},
		After: func(b int) error {
			lo, hi := b*bucket, min(c.x.N, (b+1)*bucket)
			c.from(c.words[b%ahead].Slice(0, hi-lo), lo, hi)
			return c.lane.Sync()
		},
	}
	if err := p.Run(); err != nil {
		return err
	}
	var bad [2]int64
	device.Download(c.lane, bad[:], c.bad)
	if bad != [2]int64{} {
		return fmt.Errorf("%d NaN and %d elements beyond what can be summed", bad[0], bad[1])
	}
	return c.lane.Sync()
}

// pieces cuts a bucket, elements lo..hi-1, into what stays in a core's cache from one operator to the next, as training does; at is where in the bucket.
func pieces(lo, hi int, do func(at, lo, hi int)) {
	for at := 0; lo < hi; at, lo = at+device.Piece, lo+device.Piece {
		do(at, lo, min(hi, lo+device.Piece))
	}
}

func (c *exactCodec[W]) close() {
	c.dev.Free(c.bad.Addr)
	for _, words := range c.words {
		c.dev.Free(words.Addr)
	}
	c.vector.close()
}

// openFixed is exact64.
func openFixed(n, size int) (codec, error) {
	c, err := openExact[int64](n)
	if err != nil {
		return nil, err
	}
	c.to = func(acc device.I64, lo, hi int) { c.lane.ToFixed(acc, c.x.Slice(lo, hi), exact.Limit(size), c.bad) }
	c.from = func(acc device.I64, lo, hi int) { c.lane.FromFixed(c.x.Slice(lo, hi), acc, 1) }
	c.ring = (*allreduce.Group).SumInt64
	c.worst = func(size int) float64 { return math.Ldexp(float64(size), -exact.FractionBits-1) }
	return c, nil
}

// blockCodec is exact16 or exact32. The exponents are the data's own, as if they were those of a step before that was like this one.
type blockCodec[W interface {
	exact.Word
	device.Number
}] struct {
	*exactCodec[W]
	exponents device.I8
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
		words, err := openExact[W](n)
		if err != nil {
			return nil, err
		}
		c := &blockCodec[W]{exactCodec: words}
		if c.exponents, err = device.Alloc[int8](c.dev, exact.Blocks(n)); err != nil {
			c.close()
			return nil, err
		}
		device.Upload(c.lane, c.exponents, exponentsOf(n, size))
		fraction := exact.Fraction(bits, size)
		c.to = func(acc device.Buf[W], lo, hi int) {
			to(c.lane, acc, c.x.Slice(lo, hi), c.ofBlocks(lo, hi), fraction, c.bad)
		}
		c.from = func(acc device.Buf[W], lo, hi int) {
			from(c.lane, c.x.Slice(lo, hi), acc, c.ofBlocks(lo, hi), fraction, 1)
		}
		c.ring = add
		// Magnitudes are below 1, so that exponents are at most 0; the last rounding is that of float32.
		c.worst = func(size int) float64 { return float64(size) * (exact.BlockError(0, fraction) + 0x1p-24) }
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

// ofBlocks are the exponents of elements lo..hi-1; pieces begin with a block.
func (c *blockCodec[W]) ofBlocks(lo, hi int) device.I8 {
	return c.exponents.Slice(lo/exact.BlockElements, exact.Blocks(hi))
}

func (c *blockCodec[W]) close() {
	c.dev.Free(c.exponents.Addr)
	c.exactCodec.close()
}
