package cpu

// #include "kernels.h"
import "C"

import "github.com/ringleader-dev/ringleader/device"

// DenseAllAction is the loss, forward and backward. It passes over dItems if that is zero.
func (l *lane) DenseAllAction(out device.F64, dUsers, dItems device.Mat, a *device.AllAction) {
	o := l.begin("DenseAllAction")
	if a == nil {
		o.fail("there is no description of the loss")
		return
	}
	o.allAction(a)
	room(o, "out", out, 2)
	o.mat("dUsers", dUsers, a.Users.Rows, a.Users.Cols)
	if !dItems.IsZero() {
		o.mat("dItems", dItems, a.Items.Rows, a.Items.Cols)
	}
	if !o.ok() {
		return
	}
	c := C.cpu_all_action{
		out: addr(out), dusers: mat(dUsers), ditems: mat(dItems), users: mat(a.Users), items: mat(a.Items),
		pool: C.int64_t(a.Pool), segments: C.int64_t(segmentCount(a.Seg)), positives: C.int64_t(a.Positive.N),
		pool_bias: addr(a.PoolBias), mask: addr(a.Mask), weight: addr(a.Weight), positive: addr(a.Positive), pos_bias: addr(a.PosBias),
		inv_tau: C.float(a.InvTau),
	}
	o.end(C.cpu_dense_all_action(l.c, c, host(a.Seg.Host), host(a.Lo), host(a.Hi)))
}

func (o op) allAction(a *device.AllAction) {
	tokens := a.Users.Rows
	o.mat("Users", a.Users, tokens, a.Users.Cols)
	o.mat("Items", a.Items, a.Items.Rows, a.Users.Cols)
	// A shard without users has no pool either.
	o.want(a.Pool >= 1 && a.Pool <= a.Items.Rows || a.Pool == 0 && tokens == 0, "Pool is %d: want 1..%d", a.Pool, a.Items.Rows)
	vec(o, "PoolBias", a.PoolBias, a.Pool)
	o.segments(a.Seg, tokens)
	vec(o, "Mask", a.Mask, segmentCount(a.Seg)*((a.Pool+31)/32))
	vec(o, "Weight", a.Weight, tokens)
	vec(o, "Positive", a.Positive, a.Positive.N)
	vec(o, "PosBias", a.PosBias, a.Positive.N)
	o.want(len(a.Lo) == tokens && len(a.Hi) == tokens, "Lo and Hi have %d and %d elements: want %d", len(a.Lo), len(a.Hi), tokens)
	if o.ok() {
		o.bands(a)
	}
}

// bands checks that they are within the positives and do not decrease within a segment: the kernel takes the positives of a run of
// tokens from its first and last.
func (o op) bands(a *device.AllAction) {
	for s := range segmentCount(a.Seg) {
		lo, hi := int32(0), int32(0)
		for m := a.Seg.Host[s]; m < a.Seg.Host[s+1]; m++ {
			if a.Lo[m] == a.Hi[m] {
				continue
			}
			if a.Lo[m] < lo || a.Hi[m] < max(hi, a.Lo[m]) || int(a.Hi[m]) > a.Positive.N {
				o.fail("token %d has the band %d..%d after %d..%d: want non-decreasing within 0..%d", m, a.Lo[m], a.Hi[m], lo, hi, a.Positive.N)
				return
			}
			lo, hi = a.Lo[m], a.Hi[m]
		}
	}
}
