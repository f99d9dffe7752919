package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

// gradientSum is the gradient on its way from shards to the mean: summed on each lane, over lanes, over members. It goes bucket by bucket, in the order in
// which a backward completes them, so that the first ones travel while the last shards are still computed. Lanes are told apart by their index.
type gradientSum interface {
	// begin begins a pass, and reset a lane's sum.
	begin()
	reset(l *lane)
	// add adds what there is of the gradient of a shard, once spans of the model have been completed, as far as it has not; all is all of it. If last, nothing more follows from this lane.
	add(l *lane, spans int, last bool)
	all() int
	// finish says that nothing more follows from the lane in this pass.
	finish(l *lane)
	// good tells whether every element of the lane's shard could be summed (waits). limits are the magnitudes from which on one cannot be, by element;
	// most is the largest that they can ever be.
	good(l *lane) bool
	limits() func(i int) float32
	most() float32
	// early sums buckets over lanes and members as they become complete, until all are; reduce sums the rest, and records in the trailer what check wants to see.
	early(ctx context.Context, group *allreduce.Group) error
	reduce(ctx context.Context, group *allreduce.Group, tr *exact.Trailer) error
	check(tr *exact.Trailer) error
	// mean writes elements lo..hi-1 of the sum, divided by the number of users, to grad.
	mean(l *lane, grad device.F32, lo, hi int, users int64)
	free()
}

// codec is how a job's gradients travel: as words of one type. Methods are called by several lanes at a time.
type codec[T device.Number] interface {
	// add adds a part of the lane's gradient, which begins at element lo, to that of its sum, and counts what it adds and what it cannot: see device.Update.
	add(l *lane, sum device.Buf[T], grad device.F32, lo int, counts device.I64)
	good(l *lane) bool
	// same tells whether the total of a sum is that of what was added to it, as far as such totals are kept.
	same(total, added int64) bool
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
	shared bool            // host is the first lane's sum, whose memory is the host's: nothing is copied there and back
	lanes  []device.Buf[T] // each lane's sum over its shards
	parts  [][]T           // room on the host for a piece of a lane's sum: for each lane, and the spare one

	buckets []bucket  // in the order in which they travel
	after   []int     // how many of them are complete after so many spans
	next    int       // the first that has not been summed over members
	totals  []int64   // of what this member put into each, by number
	counted [][]int64 // the same, as lanes counted it when they converted, by lane and place

	mu      sync.Mutex
	added   []int         // buckets that each lane will add nothing more to
	changed chan struct{} // of capacity 1
}

// gathered is how many buckets may have been gathered, the one that travels among them, while the rest waits.
const gathered = 3

// bucket is elements lo..hi-1, summed under a number.
type bucket struct{ number, lo, hi int }

func openSums[T device.Number](e *Engine, c codec[T]) (gradientSum, error) {
	n := e.model.Size()
	if e.bucket == 0 {
		e.bucket = Bucket(n, device.Buf[T]{N: 1}.Bytes())
	}
	s := &sums[T]{codec: c, engine: e, added: make([]int, e.dev.Lanes()), changed: make(chan struct{}, 1)}
	s.buckets, s.after = cut(n, e.bucket, e.model.Spans())
	s.totals = make([]int64, len(s.buckets))
	for range e.dev.Lanes() {
		s.counted = append(s.counted, make([]int64, len(s.buckets)))
		sum, err := device.Alloc[T](e.dev, n)
		if err != nil {
			s.free()
			return nil, err
		}
		s.lanes = append(s.lanes, sum)
	}
	if s.host = device.View(e.dev, s.lanes[0]); s.host != nil {
		s.shared = true
	} else {
		s.host = make([]T, n)
	}
	for range len(s.lanes) + 1 {
		s.parts = append(s.parts, make([]T, min(n, device.Piece)))
	}
	return s, nil
}

// cut cuts n elements into buckets of a size, and says how many of them are complete after so many spans. All members find the same.
func cut(n, size int, spans []model.Span) (buckets []bucket, after []int) {
	left := make([]int, (n+size-1)/size) // elements of each that are not complete
	for b := range left {
		left[b] = min(size, n-b*size)
	}
	after = []int{0}
	for _, s := range spans {
		for b := s.Lo / size; b*size < s.Hi; b++ {
			left[b] -= min(s.Hi, (b+1)*size) - max(s.Lo, b*size)
			if left[b] == 0 {
				buckets = append(buckets, bucket{b, b * size, min((b+1)*size, n)})
			}
		}
		after = append(after, len(buckets))
	}
	return buckets, after
}

func (s *sums[T]) free() {
	for _, sum := range s.lanes {
		s.engine.dev.Free(sum.Addr)
	}
	s.lanes, s.host = nil, nil
}

func (s *sums[T]) begin() {
	s.next = 0
	clear(s.added)
}

func (s *sums[T]) reset(l *lane) {
	device.Zero(l.ops, s.lanes[l.index])
	clear(s.counted[l.index])
	l.added, l.counted = 0, 0
}

func (s *sums[T]) all() int { return len(s.after) - 1 }

func (s *sums[T]) add(l *lane, spans int, last bool) {
	to := s.after[spans]
	for ; l.added < to; l.added++ {
		b := s.buckets[l.added]
		s.codec.add(l, s.lanes[l.index].Slice(b.lo, b.hi), l.grad.Slice(b.lo, b.hi), b.lo, l.counts.Slice(3*l.added, 3*l.added+3))
	}
	if last && to > 0 {
		s.advance(l, to)
	}
}

func (s *sums[T]) finish(l *lane) { s.advance(l, len(s.buckets)) }

// advance says that a lane adds nothing more to the first so many buckets.
func (s *sums[T]) advance(l *lane, to int) {
	s.count(l)
	_ = l.ops.Sync() // waits for what was issued; an error stays with the lane, and ends the step before the sum is used
	s.mu.Lock()
	s.added[l.index] = to
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *sums[T]) good(l *lane) bool {
	s.count(l)
	return s.codec.good(l)
}

// count takes over what the lane has counted since (waits).
func (s *sums[T]) count(l *lane) {
	counts := make([]int64, 3*(l.added-l.counted))
	device.Download(l.ops, counts, l.counts.Slice(3*l.counted, 3*l.added))
	for ; l.counted < l.added; l.counted++ {
		l.refused += counts[0] + counts[1]
		s.counted[l.index][l.counted] += counts[2]
		counts = counts[3:]
	}
}

// complete counts the buckets that all lanes have added to.
func (s *sums[T]) complete() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Min(s.added)
}

func (s *sums[T]) early(ctx context.Context, group *allreduce.Group) error {
	for {
		complete := s.complete()
		if complete == len(s.buckets) {
			return nil // then all lanes are free to help
		}
		if s.next == complete {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.changed:
			}
			continue
		}
		b := s.buckets[s.next]
		part := s.host[b.lo:b.hi]
		var total int64
		for at := 0; at < len(part); at += device.Piece {
			piece := part[at:min(at+device.Piece, len(part))]
			s.gather(s.engine.spare, piece, b.lo+at)
			sum, _ := s.codec.total(piece)
			total += sum
		}
		if err := s.engine.spare.ops.Sync(); err != nil {
			return err
		}
		if err := s.send(ctx, group, b, total); err != nil {
			return err
		}
	}
}

// send sums the next bucket over members, if what this one puts into it is what its lanes have converted.
func (s *sums[T]) send(ctx context.Context, group *allreduce.Group, b bucket, total int64) error {
	var added int64
	for _, counted := range s.counted {
		added += counted[s.next]
	}
	if !s.same(total, added) {
		return fmt.Errorf("elements %d to %d of the gradient changed in memory after they were converted: they add up to %016x, what was added to them to %016x", b.lo, b.hi-1, uint64(total), uint64(added))
	}
	s.totals[b.number] = total
	s.next++
	return s.ring(ctx, group, s.engine.step, uint32(b.number), s.host[b.lo:b.hi])
}

func (s *sums[T]) reduce(ctx context.Context, group *allreduce.Group, tr *exact.Trailer) error {
	rest := s.buckets[s.next:]
	totals := make([]int64, len(rest))
	p := allreduce.Pipeline{
		Buckets: len(rest),
		Ahead:   gathered,
		Before: func(i int) error {
			totals[i] = s.collect(rest[i])
			return s.engine.sync()
		},
		Sum: func(i int) error { return s.send(ctx, group, rest[i], totals[i]) },
	}
	if err := p.Run(); err != nil {
		return err
	}
	if _, exact := s.codec.total(nil); exact {
		for b, total := range s.totals {
			tr.SetBucketSum(b, total)
		}
	}
	return nil
}

// collect gathers a bucket on all lanes, and returns the total of what is in it, as far as the codec has totals.
func (s *sums[T]) collect(b bucket) int64 {
	part := s.host[b.lo:b.hi]
	var sum atomic.Int64
	s.engine.spread(len(part), func(l *lane, lo, hi int) {
		s.gather(l, part[lo:hi], b.lo+lo)
		total, _ := s.codec.total(part[lo:hi]) // while it is in the cache
		sum.Add(total)
	})
	return sum.Load()
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
	for _, b := range s.buckets {
		total, exact := s.total(s.host[b.lo:b.hi])
		if !exact {
			return nil
		}
		if err := tr.CheckBucketSum(b.number, total); err != nil {
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
	room := s.lanes[l.index]
	if s.shared {
		room = s.lanes[0]
	}
	s.codec.mean(l, grad.Slice(lo, hi), room.Slice(lo, hi), s.host[lo:hi], lo, users)
}
