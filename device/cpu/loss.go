package cpu

// #include "kernels.h"
import "C"

import "github.com/ringleader-dev/ringleader/device"

// DenseAllAction is the loss, forward and backward. It passes over dItems if that is zero.
func (l *lane) DenseAllAction(out device.F64, dUsers, dItems device.Mat, a *device.AllAction) {
	o := l.begin("DenseAllAction")
	o.AllAction(out, dUsers, dItems, a)
	if !o.OK() {
		return
	}
	c := C.cpu_all_action{
		out: addr(out), dusers: mat(dUsers), ditems: mat(dItems), users: mat(a.Users), items: mat(a.Items),
		pool: C.int64_t(a.Pool), segments: C.int64_t(a.Seg.Count()), positives: C.int64_t(a.Positive.N),
		pool_bias: addr(a.PoolBias), mask: addr(a.Mask), weight: addr(a.Weight), positive: addr(a.Positive), pos_bias: addr(a.PosBias),
		inv_tau: C.float(a.InvTau),
	}
	o.end(C.cpu_dense_all_action(l.c, c, host(a.Seg.Host), host(a.Lo), host(a.Hi)))
}
