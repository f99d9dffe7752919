package main

import (
	"context"
	"fmt"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
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
	{"float32", openPlain},
	{"exact64", openFixed},
	{"exact32", openBlocks(32, device.Lane.ToBlocks32, device.Lane.FromBlocks32, (*allreduce.Group).SumInt32)},
	{"exact16", openBlocks(16, device.Lane.ToBlocks16, device.Lane.FromBlocks16, (*allreduce.Group).SumInt16)},
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
type plainCodec struct {
	*vector
	host []float32 // the elements, as the ring sees them
}

func openPlain(n, _ int) (codec, error) {
	v, err := openVector(n)
	if err != nil {
		return nil, err
	}
	return &plainCodec{v, device.View(v.dev, v.x)}, nil
}

func (c *plainCodec) bound(int) float64 { return 0 } // element sees to it
func (c *plainCodec) sum(ctx context.Context, g *allreduce.Group, step ringleader.Step) error {
	return g.SumFloat32(ctx, step, 0, c.host)
}

// vector is float32 elements on a device with one lane: every codec starts from there and ends there.
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
