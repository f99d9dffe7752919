//go:build cuda

package cuda

import (
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// each is the grid of kernels of which a thread takes an element of a vector.
func each(n int) grid { return grid{blocks(n, 256), 1} }

// ToFixed adds x to acc as fixed point; bad has three elements.
func (l *lane) ToFixed(acc device.I64, x device.F32, limit float32, bad device.I64) {
	o := l.begin("ToFixed")
	device.CheckVec(o.Check, "acc", acc, x.N)
	device.CheckVec(o.Check, "x", x, x.N)
	device.CheckRoom(o.Check, "bad", bad, 3)
	o.launch("to_fixed", each(x.N), 256, acc, x, x.N, limit, bad)
}

// FromFixed converts back.
func (l *lane) FromFixed(x device.F32, acc device.I64, divisor float64) {
	o := l.begin("FromFixed")
	device.CheckVec(o.Check, "acc", acc, x.N)
	device.CheckVec(o.Check, "x", x, x.N)
	o.launch("from_fixed", each(x.N), 256, x, acc, x.N, divisor)
}

// RaiseExponents is exact.RaiseExponents.
func (l *lane) RaiseExponents(exponents device.I8, x device.F32) {
	o := l.begin("RaiseExponents")
	device.CheckVec(o.Check, "x", x, x.N)
	device.CheckVec(o.Check, "exponents", exponents, exact.Blocks(x.N))
	o.launch("raise_exponents", each(x.N), 256, exponents, x, x.N)
}

// ToBlocks16 adds x to acc; bad has three elements.
func (l *lane) ToBlocks16(acc device.I16, x device.F32, exponents device.I8, fraction int, bad device.I64) {
	o := l.begin("ToBlocks16")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 15)
	device.CheckRoom(o.Check, "bad", bad, 3)
	o.launch("to_blocks16", each(x.N), 256, acc, x, x.N, exponents, fraction, bad)
}

// ToBlocks32 adds x to acc; bad has three elements.
func (l *lane) ToBlocks32(acc device.I32, x device.F32, exponents device.I8, fraction int, bad device.I64) {
	o := l.begin("ToBlocks32")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 31)
	device.CheckRoom(o.Check, "bad", bad, 3)
	o.launch("to_blocks32", each(x.N), 256, acc, x, x.N, exponents, fraction, bad)
}

// FromBlocks16 converts back.
func (l *lane) FromBlocks16(x device.F32, acc device.I16, exponents device.I8, fraction int, divisor float64) {
	o := l.begin("FromBlocks16")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 15)
	o.launch("from_blocks16", each(x.N), 256, x, acc, x.N, exponents, fraction, divisor)
}

// FromBlocks32 converts back.
func (l *lane) FromBlocks32(x device.F32, acc device.I32, exponents device.I8, fraction int, divisor float64) {
	o := l.begin("FromBlocks32")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 31)
	o.launch("from_blocks32", each(x.N), 256, x, acc, x.N, exponents, fraction, divisor)
}

// normBlock is how many elements are a leaf of exact.SquaredNorm's tree.
const normBlock = 4096

// SquaredNorm is exact.SquaredNorm; it waits, and is 0 after an error.
func (l *lane) SquaredNorm(x device.F32) float64 {
	o := l.begin("SquaredNorm")
	device.CheckVec(o.Check, "x", x, x.N)
	n := blocks(x.N, normBlock)
	o.reserve(8*n, 8*n)
	if !o.OK() || n == 0 {
		return 0
	}
	from, to := take[float64](o, n), take[float64](o, n)
	o.launch("squared_norm", grid{n, 1}, 256, from, x, x.N)
	for ; n > 1; n = blocks(n, 2) {
		o.launch("add_pairs", each(blocks(n, 2)), 256, to, from, n)
		from, to = to, from
	}
	var sum [1]float64
	device.Download(l, sum[:], from)
	return sum[0]
}

// hashBlocks is the grid of what hashes: many words a thread, so that few threads meet at the sum.
const hashBlocks = 1024

// hashing is the grid of a kernel that hashes n words or elements.
func hashing(n int) grid { return grid{min(blocks(n, 256), hashBlocks), 1} }

// AdamW updates p, m and v, and hashes them.
func (l *lane) AdamW(p, m, v, g device.F32, a device.AdamW, h device.Hashes) {
	o := l.begin("AdamW")
	device.CheckVec(o.Check, "p", p, p.N)
	device.CheckVec(o.Check, "m", m, p.N)
	device.CheckVec(o.Check, "v", v, p.N)
	device.CheckVec(o.Check, "g", g, p.N)
	device.CheckRoom(o.Check, "h.Sums", h.Sums, 2)
	o.launch("adamw", hashing(p.N), 256, p, m, v, g, p.N, a.LR, a.Beta1, a.Beta2, a.Eps, a.Decay, a.Correction1, a.Correction2, a.Scale, h.Sums, h.First, h.Size)
}

// Hash is exact.HashFloats; it waits, and is 0 after an error.
func (l *lane) Hash(x device.F32, first uint64) uint64 {
	o := l.begin("Hash")
	device.CheckVec(o.Check, "x", x, x.N)
	o.reserve(8)
	if !o.OK() || x.N == 0 {
		return 0
	}
	sum := take[int64](o, 1)
	device.Zero(l, sum)
	o.launch("hash", hashing(x.N), 256, sum, x, x.N, first)
	var got [1]int64
	device.Download(l, got[:], sum)
	return uint64(got[0])
}
