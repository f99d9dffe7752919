package worker

import (
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader/device"
)

// spread shares n elements among the lanes, piece by piece, as device.Spread does.
func (e *Engine) spread(n int, do func(l *lane, lo, hi int)) {
	var next atomic.Int64
	work := func(l *lane) {
		for {
			hi := int(next.Add(device.Piece))
			lo := hi - device.Piece
			if lo >= n {
				_ = l.ops.Sync() // waits for what was issued; an error stays with the lane
				return
			}
			do(l, lo, min(hi, n))
		}
	}
	var wg sync.WaitGroup
	for _, l := range e.lanes[1:min(len(e.lanes), max(1, device.Pieces(n)))] {
		wg.Go(func() { work(l) })
	}
	work(e.lanes[0])
	wg.Wait()
}

// hash is the hash of a vector whose first word has index first.
func (e *Engine) hash(x device.F32, first uint64) uint64 {
	var sum atomic.Uint64
	e.spread(x.N, func(l *lane, lo, hi int) { sum.Add(l.ops.Hash(x.Slice(lo, hi), first+uint64(lo))) })
	return sum.Load()
}

// sync waits for all lanes and returns the first one's error that has one: what breaks a device breaks all alike.
func (e *Engine) sync() (first error) {
	for _, l := range e.lanes {
		if err := l.ops.Sync(); first == nil {
			first = err
		}
	}
	return first
}
