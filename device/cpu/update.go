package cpu

// #include "kernels.h"
import "C"

import "github.com/ringleader-dev/ringleader/device"

// ToFixed adds x to acc as fixed point; bad has two elements.
func (l *lane) ToFixed(acc device.I64, x device.F32, limit float32, bad device.I64) {
	o := l.begin("ToFixed")
	vec(o, "acc", acc, x.N)
	vec(o, "x", x, x.N)
	room(o, "bad", bad, 2)
	if o.ok() {
		C.cpu_to_fixed(l.c, addr(acc), addr(x), C.int64_t(x.N), C.float(limit), addr(bad))
	}
}

// FromFixed converts back.
func (l *lane) FromFixed(x device.F32, acc device.I64, divisor float64) {
	o := l.begin("FromFixed")
	vec(o, "acc", acc, x.N)
	vec(o, "x", x, x.N)
	if o.ok() {
		C.cpu_from_fixed(l.c, addr(x), addr(acc), C.int64_t(x.N), C.double(divisor))
	}
}

// SquaredNorm is exact.SquaredNorm; it is 0 after an error.
func (l *lane) SquaredNorm(x device.F32) float64 {
	o := l.begin("SquaredNorm")
	vec(o, "x", x, x.N)
	var sum C.double
	if o.ok() {
		o.end(C.cpu_squared_norm(l.c, &sum, addr(x), C.int64_t(x.N)))
	}
	return float64(sum)
}

// AdamW updates p, m and v.
func (l *lane) AdamW(p, m, v, g device.F32, a device.AdamW) {
	o := l.begin("AdamW")
	vec(o, "p", p, p.N)
	vec(o, "m", m, p.N)
	vec(o, "v", v, p.N)
	vec(o, "g", g, p.N)
	if !o.ok() {
		return
	}
	C.cpu_adamw(l.c, addr(p), addr(m), addr(v), addr(g), C.int64_t(p.N), C.cpu_adamw_scalars{
		lr: C.float(a.LR), beta1: C.float(a.Beta1), beta2: C.float(a.Beta2), eps: C.float(a.Eps), decay: C.float(a.Decay),
		correction1: C.float(a.Correction1), correction2: C.float(a.Correction2), scale: C.float(a.Scale),
	})
}

// Hash is exact.HashFloats; it is 0 after an error.
func (l *lane) Hash(x device.F32, first uint64) uint64 {
	o := l.begin("Hash")
	vec(o, "x", x, x.N)
	if !o.ok() {
		return 0
	}
	return uint64(C.cpu_hash(l.c, addr(x), C.int64_t(x.N), C.uint64_t(first)))
}
