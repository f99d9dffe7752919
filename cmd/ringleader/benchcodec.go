package main

import (
	"context"
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/exact"
)

// codec is a vector of float32 and a way to sum it over a ring. A new one is a line in codecs.
type codec interface {
	// load takes a member's elements, and unload gives their sum; neither is timed.
	load(x []float32)
	unload(x []float32)
	// sum is what is timed: conversion, the ring, conversion back.
	sum(ctx context.Context, g *allreduce.Group, step ringleader.Step) error
	// bound is how far an element may be from the true sum over so many members.
	bound(size int) float64
	close()
}

var codecs = []struct {
	name string
	open func(n, size int) (codec, error)
}{
	{"float32", func(n, _ int) (codec, error) { return &plainCodec{make([]float32, n)}, nil }},
	{"exact64", openFixed},
}

func codecNames() (names []string) {
	for _, c := range codecs {
		names = append(names, c.name)
	}
	return names
}

// openCodec is a codec for vectors of n elements in a ring of the given size.
func openCodec(name string, n, size int) (codec, error) {
	for _, c := range codecs {
		if c.name == name {
			return c.open(n, size)
		}
	}
	return nil, fmt.Errorf("codec %q: allowed: %v", name, codecNames())
}

// plainCodec sums floats as they are.
type plainCodec struct{ x []float32 }

func (c *plainCodec) load(x []float32)   { copy(c.x, x) }
func (c *plainCodec) unload(x []float32) { copy(x, c.x) }
func (c *plainCodec) close()             {}
func (c *plainCodec) bound(int) float64  { return 0 } // element sees to it
func (c *plainCodec) sum(ctx context.Context, g *allreduce.Group, step ringleader.Step) error {
	return g.SumFloat32(ctx, step, 0, c.x)
}

// vector is float32 elements on a device with one lane: an exact codec starts from there and ends there.
type vector struct {
	dev  device.Device
	lane device.Lane
	x    device.F32
}

func openVector(n int) (v *vector, err error) {
	v = &vector{}
	if v.dev, err = cpu.Open(cpu.Options{Lanes: 1}); err != nil {
		return nil, err
	}
	if v.lane, err = v.dev.NewLane(nil); err == nil {
		v.x, err = device.Alloc[float32](v.dev, n)
	}
	if err != nil {
		v.close()
	}
	return v, err
}

func (v *vector) load(x []float32)   { device.Upload(v.lane, v.x, x) }
func (v *vector) unload(x []float32) { device.Download(v.lane, x, v.x) }

func (v *vector) close() {
	if v.lane != nil {
		_ = v.lane.Close() // sum has asked for its errors
	}
	v.dev.Free(v.x.Addr)
	_ = v.dev.Close() // what is still allocated goes with the process
}

// bucket is how many elements are converted and summed at a time: as many as in training.
const bucket = 1 << 20

// buckets calls do for each bucket of n elements.
func buckets(n int, do func(b, lo, hi int) error) error {
	for b := 0; b*bucket < n; b++ {
		if err := do(b, b*bucket, min(n, (b+1)*bucket)); err != nil {
			return err
		}
	}
	return nil
}

// fixedCodec is exact64.
type fixedCodec struct {
	*vector
	acc  device.I64 // of a bucket
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
	if c.acc, err = device.Alloc[int64](v.dev, min(n, bucket)); err == nil {
		c.bad, err = device.Alloc[int64](v.dev, 2)
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
		acc := c.acc.Slice(0, hi-lo)
		device.Zero(c.lane, acc)
		c.lane.ToFixed(acc, c.x.Slice(lo, hi), exact.Limit(c.size), c.bad)
		device.Download(c.lane, c.sums[lo:hi], acc)
		return g.SumInt64(ctx, step, uint32(b), c.sums[lo:hi])
	})
	if err != nil {
		return err
	}
	_ = buckets(len(c.sums), func(_, lo, hi int) error {
		acc := c.acc.Slice(0, hi-lo)
		device.Upload(c.lane, acc, c.sums[lo:hi])
		c.lane.FromFixed(c.x.Slice(lo, hi), acc, 1)
		return nil
	})
	return c.lane.Sync()
}
