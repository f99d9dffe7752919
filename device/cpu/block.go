package cpu

// #include "kernels.h"
import "C"

import (
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// RaiseExponents is exact.RaiseExponents.
func (l *lane) RaiseExponents(exponents device.I8, x device.F32) {
	o := l.begin("RaiseExponents")
	device.CheckVec(o.Check, "x", x, x.N)
	device.CheckVec(o.Check, "exponents", exponents, exact.Blocks(x.N))
	if o.OK() {
		C.cpu_raise_exponents(l.c, addr(exponents), addr(x), C.int64_t(x.N))
	}
}

// ToBlocks16 adds x to acc; bad has three elements.
func (l *lane) ToBlocks16(acc device.I16, x device.F32, exponents device.I8, fraction int, bad device.I64) {
	o := l.begin("ToBlocks16")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 15)
	device.CheckRoom(o.Check, "bad", bad, 3)
	if o.OK() {
		C.cpu_to_blocks16(l.c, addr(acc), addr(x), C.int64_t(x.N), addr(exponents), C.int(fraction), addr(bad))
	}
}

// ToBlocks32 adds x to acc; bad has three elements.
func (l *lane) ToBlocks32(acc device.I32, x device.F32, exponents device.I8, fraction int, bad device.I64) {
	o := l.begin("ToBlocks32")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 31)
	device.CheckRoom(o.Check, "bad", bad, 3)
	if o.OK() {
		C.cpu_to_blocks32(l.c, addr(acc), addr(x), C.int64_t(x.N), addr(exponents), C.int(fraction), addr(bad))
	}
}

// FromBlocks16 converts back.
func (l *lane) FromBlocks16(x device.F32, acc device.I16, exponents device.I8, fraction int, divisor float64) {
	o := l.begin("FromBlocks16")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 15)
	if o.OK() {
		C.cpu_from_blocks16(l.c, addr(x), addr(acc), C.int64_t(x.N), addr(exponents), C.int(fraction), C.double(divisor))
	}
}

// FromBlocks32 converts back.
func (l *lane) FromBlocks32(x device.F32, acc device.I32, exponents device.I8, fraction int, divisor float64) {
	o := l.begin("FromBlocks32")
	device.CheckBlocks(o.Check, acc, x, exponents, fraction, 31)
	if o.OK() {
		C.cpu_from_blocks32(l.c, addr(x), addr(acc), C.int64_t(x.N), addr(exponents), C.int(fraction), C.double(divisor))
	}
}
