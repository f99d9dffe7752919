package main

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringleader-dev/ringleader/device"
)

// memory is a device whose memory can lose a bit: of what was hashed last, which is the state that a worker holds, or of the sum that an update is made of.
type memory struct {
	device.Device
	mu     sync.Mutex
	hashed map[uint64]hashed // by the index of the first word in the state
	asked  []uint64
	sums   []uint64 // asked for, of the coming step's sum
}

type hashed struct {
	x  device.F32
	by device.Lane
}

func newMemory(d device.Device) *memory { return &memory{Device: d, hashed: map[uint64]hashed{}} }

// NewLane implements device.Device.
func (m *memory) NewLane(beat *atomic.Uint64) (device.Lane, error) {
	l, err := m.Device.NewLane(beat)
	if err != nil {
		return nil, err
	}
	return &memoryLane{l, m}, nil
}

// Free implements device.Device.
func (m *memory) Free(addr uintptr) {
	m.mu.Lock()
	clear(m.hashed) // it may have been among them; the next step hashes what is left
	m.mu.Unlock()
	m.Device.Free(addr)
}

type memoryLane struct {
	device.Lane
	m *memory
}

// Hash implements device.Update.
func (l *memoryLane) Hash(x device.F32, first uint64) uint64 {
	l.note(x, first)
	return l.Lane.Hash(x, first)
}

// AdamW implements device.Update: it hashes, too.
func (l *memoryLane) AdamW(p, m, v, g device.F32, a device.AdamW, h device.Hashes) {
	for i, x := range []device.F32{p, m, v} {
		l.note(x, h.First+uint64(i)*h.Size)
	}
	l.Lane.AdamW(p, m, v, g, a, h)
}

func (l *memoryLane) note(x device.F32, first uint64) {
	if x.N == 0 {
		return
	}
	l.m.mu.Lock()
	l.m.hashed[first] = hashed{x, l.Lane}
	l.m.mu.Unlock()
}

// FromFixed implements device.Codec: what the members have added up, and checked, is read.
func (l *memoryLane) FromFixed(x device.F32, acc device.I64, divisor float64) {
	l.m.mu.Lock()
	for _, n := range l.m.sums {
		at := int(n / 7 % uint64(acc.N))
		word := make([]int64, 1)
		device.Download(l.Lane, word, acc.Slice(at, at+1))
		word[0] ^= 1 << (40 + n%11) // large enough to survive rounding
		device.Upload(l.Lane, acc.Slice(at, at+1), word)
	}
	l.m.sums = nil
	l.m.mu.Unlock()
	l.Lane.FromFixed(x, acc, divisor)
}

// ask wants a bit flipped between this step and the next, or in the next step's sum; n says which.
func (m *memory) ask(n uint64, sum bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if sum {
		m.sums = append(m.sums, n)
	} else {
		m.asked = append(m.asked, n)
	}
}

// betweenSteps flips what was asked for. The caller is the goroutine that trains, and no operator runs.
func (m *memory) betweenSteps() {
	m.mu.Lock()
	defer m.mu.Unlock()
	firsts := slices.Sorted(maps.Keys(m.hashed))
	for _, n := range m.asked {
		if len(firsts) == 0 {
			break
		}
		h := m.hashed[firsts[n%uint64(len(firsts))]]
		at := int(n / 7 % uint64(h.x.N))
		word := make([]float32, 1)
		device.Download(h.by, word, h.x.Slice(at, at+1))
		// One of the fraction's lower bits: a change that no loss shows, and never a NaN.
		word[0] = math.Float32frombits(math.Float32bits(word[0]) ^ 1<<(n%11))
		device.Upload(h.by, h.x.Slice(at, at+1), word)
	}
	m.asked = nil
}
