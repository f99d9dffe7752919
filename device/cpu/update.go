package cpu

// #include "kernels.h"
import "C"

import "github.com/ringleader-dev/ringleader/device"

// ToFixed adds x to acc as fixed point; bad has three elements.
func (l *lane) ToFixed(acc device.I64, x device.F32, limit float32, bad device.I64) {
	o := l.begin("ToFixed")
	device.CheckVec(o.Check, "acc", acc, x.N)
	device.CheckVec(o.Check, "x", x, x.N)
	device.CheckRoom(o.Check, "bad", bad, 3)
	if o.OK() {
		C.cpu_to_fixed(l.c, addr(acc), addr(x), C.int64_t(x.N), C.float(limit), addr(bad))
	}
}

// FromFixed converts back.
func (l *lane) FromFixed(x device.F32, acc device.I64, divisor float64) {
	o := l.begin("FromFixed")
	device.CheckVec(o.Check, "acc", acc, x.N)
	device.CheckVec(o.Check, "x", x, x.N)
	if o.OK() {
		C.cpu_from_fixed(l.c, addr(x), addr(acc), C.int64_t(x.N), C.double(divisor))
	}
}

// SquaredNorm is exact.SquaredNorm; it is 0 after an error.
func (l *lane) SquaredNorm(x device.F32) float64 {
	o := l.begin("SquaredNorm")
	device.CheckVec(o.Check, "x", x, x.N)
	var sum C.double
	if o.OK() {
		o.end(C.cpu_squared_norm(l.c, &sum, addr(x), C.int64_t(x.N)))
	}
	return float64(sum)
}

// AdamW updates p, m and v, and hashes them.
func (l *lane) AdamW(p, m, v, g device.F32, a device.AdamW, h device.Hashes) {
	o := l.begin("AdamW")
	device.CheckVec(o.Check, "p", p, p.N)
	device.CheckVec(o.Check, "m", m, p.N)
	device.CheckVec(o.Check, "v", v, p.N)
	device.CheckVec(o.Check, "g", g, p.N)
	device.CheckRoom(o.Check, "h.Sums", h.Sums, 2)
	if !o.OK() {
		return
	}
	C.cpu_adamw(l.c, addr(p), addr(m), addr(v), addr(g), C.int64_t(p.N), C.cpu_adamw_scalars{
		lr: C.float(a.LR), beta1: C.float(a.Beta1), beta2: C.float(a.Beta2), eps: C.float(a.Eps), decay: C.float(a.Decay),
		correction1: C.float(a.Correction1), correction2: C.float(a.Correction2), scale: C.float(a.Scale),
	}, C.cpu_hashes{first: C.uint64_t(h.First), size: C.uint64_t(h.Size), sums: addr(h.Sums)})
}

// Hash is exact.HashFloats; it is 0 after an error.
func (l *lane) Hash(x device.F32, first uint64) uint64 {
	o := l.begin("Hash")
	device.CheckVec(o.Check, "x", x, x.N)
	if !o.OK() {
		return 0
	}
	return uint64(C.cpu_hash(l.c, addr(x), C.int64_t(x.N), C.uint64_t(first)))
}
