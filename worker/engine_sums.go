package worker

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// gradientSum is the gradient on its way from shards to the mean: summed on each lane, over lanes, over members. Lanes are told apart by their index.
type gradientSum interface {
	// reset begins a lane's sum, add adds the gradient of a shard to it and tells whether every element could be. limits are the magnitudes from which
	// on one cannot be, by element; most is the largest that they can ever be.
	reset(l *lane)
	add(l *lane) bool
	limits() func(i int) float32
	most() float32
	// reduce sums over lanes and members, and records in the trailer what check wants to see.
	reduce(ctx context.Context, group *allreduce.Group, tr *exact.Trailer) error
	check(tr *exact.Trailer) error
	// mean writes elements lo..hi-1 of the sum, divided by the number of users, to grad.
	mean(l *lane, grad device.F32, lo, hi int, users int64)
	free()
}

// codec is how a job's gradients travel: as words of one type. Methods are called by several lanes at a time.
type codec[T device.Number] interface {
	add(l *lane, sum device.Buf[T]) bool
	limits() func(i int) float32
	most() float32
	ring(ctx context.Context, group *allreduce.Group, step ringleader.Step, bucket uint32, part []T) error
	// total is what trailers carry for a part of a sum; it is exact if the codec is.
	total(part []T) (sum int64, exact bool)
	// mean converts back elements of the sum, the first of which is lo: host is the sum, and sum room for it on the device.
	mean(l *lane, grad device.F32, sum device.Buf[T], host []T, lo int, users int64)
}

// sums is the gradientSum of a codec.
type sums[T device.Number] struct {
	codec[T]
	engine *Engine
	host   []T             // what the ring sums
	lanes  []device.Buf[T] // each lane's sum over its shards
	parts  [][]T           // each lane's room on the host for a piece of another one's sum
}

func openSums[T device.Number](e *Engine, c codec[T]) (gradientSum, error) {
	n := e.model.Size()
	s := &sums[T]{codec: c, engine: e, host: make([]T, n)}
	for range e.dev.Lanes() {
		sum, err := device.Alloc[T](e.dev, n)
		if err != nil {
			s.free()
			return nil, err
		}
		s.lanes, s.parts = append(s.lanes, sum), append(s.parts, make([]T, min(n, device.Piece)))
	}
	return s, nil
}

func (s *sums[T]) free() {
	for _, sum := range s.lanes {
		s.engine.dev.Free(sum.Addr)
	}
	s.lanes = nil
}

func (s *sums[T]) reset(l *lane) { device.Zero(l.ops, s.lanes[l.index]) }

func (s *sums[T]) add(l *lane) bool { return s.codec.add(l, s.lanes[l.index]) }

func (s *sums[T]) reduce(ctx context.Context, group *allreduce.Group, tr *exact.Trailer) error {
	for b, part := range inBuckets(s.host, s.engine.bucket) {
		at := b * s.engine.bucket
		s.engine.spread(len(part), func(l *lane, lo, hi int) { s.gather(l, part[lo:hi], at+lo) })
		if total, exact := s.total(part); exact {
			tr.SetBucketSum(b, total)
		}
		if err := s.ring(ctx, group, s.engine.step, uint32(b), part); err != nil {
			return err
		}
	}
	return nil
}

// gather adds a piece of the lanes' sums, which begins at element at, into dst, in order of lanes.
func (s *sums[T]) gather(l *lane, dst []T, at int) {
	device.Download(l.ops, dst, s.lanes[0].Slice(at, at+len(dst)))
	part := s.parts[l.index][:len(dst)]
	for _, sum := range s.lanes[1:] {
		device.Download(l.ops, part, sum.Slice(at, at+len(dst)))
		for i, x := range part {
			dst[i] += x
		}
	}
}

func (s *sums[T]) check(tr *exact.Trailer) error {
	for b, part := range inBuckets(s.host, s.engine.bucket) {
		total, exact := s.total(part)
		if !exact {
			return nil
		}
		if err := tr.CheckBucketSum(b, total); err != nil {
			return err
		}
	}
	return nil
}

// total shares the work among the lanes.
func (s *sums[T]) total(part []T) (int64, bool) {
	var sum atomic.Int64
	_, exact := s.codec.total(nil)
	if exact {
		s.engine.spread(len(part), func(_ *lane, lo, hi int) {
			x, _ := s.codec.total(part[lo:hi])
			sum.Add(x)
		})
	}
	return sum.Load(), exact
}

func (s *sums[T]) mean(l *lane, grad device.F32, lo, hi int, users int64) {
	s.codec.mean(l, grad.Slice(lo, hi), s.lanes[l.index].Slice(lo, hi), s.host[lo:hi], lo, users)
}

// inBuckets cuts a flat vector into buckets of so many elements.
func inBuckets[T any](flat []T, bucket int) iter.Seq2[int, []T] {
	return func(yield func(int, []T) bool) {
		b := 0
		for part := range slices.Chunk(flat, bucket) {
			if !yield(b, part) {
				return
			}
			b++
		}
	}
}
