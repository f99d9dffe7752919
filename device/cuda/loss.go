//go:build cuda

package cuda

import "github.com/ringleader-dev/ringleader/device"

// DenseAllAction is the loss, forward and backward. It passes over dItems if that is zero.
func (l *lane) DenseAllAction(out device.F64, dUsers, dItems device.Mat, a *device.AllAction) {
	o := l.begin("DenseAllAction")
	o.AllAction(out, dUsers, dItems, a)
	if !o.OK() {
		return
	}
	o.launch("clear", elements(dUsers), 256, dUsers, dUsers.Cols)
	if !dItems.IsZero() {
		o.launch("clear", elements(dItems), 256, dItems, dItems.Cols)
	}
	b := bandsOf(a)
	if len(b.token) == 0 {
		return
	}
	w := o.lossSpace(a, b)
	if !o.OK() {
		return
	}
	w.forward(o, a)
	if !dItems.IsZero() {
		w.items(o, a, dItems)
	}
	rows, dim := len(b.token), a.Users.Cols
	o.launch("loss_spread", rowsOf(rows), 128, dUsers, w.tau, w.du, w.u.Data, rows, dim, w.token)
	o.launch("loss_sum", grid{1, 1}, 256, out, w.loss, w.tau, rows)
}

// lossSpace is the scratch memory of the loss: O(tokens + positives).
type lossSpace struct {
	rows                                 int
	token, segment, lo, hi, starts, runs device.I32
	most, sum, z, factor, du             device.F32
	loss, tau                            device.F64
	u, dv                                device.Mat
}

func (o op) lossSpace(a *device.AllAction, b *bands) *lossSpace {
	r, p, d := len(b.token), a.Positive.N, a.Users.Cols
	o.reserve(4*r, 4*r, 4*r, 4*r, 4*len(b.starts), 4*len(b.runs), 4*r, 4*r, 4*r, 4*r, 4*r*d, 8*r, 8*r, 4*r*d, 4*p*d)
	if !o.OK() {
		return nil
	}
	w := &lossSpace{rows: r}
	for _, list := range []struct {
		dst *device.I32
		src []int32
	}{{&w.token, b.token}, {&w.segment, b.segment}, {&w.lo, b.lo}, {&w.hi, b.hi}, {&w.starts, b.starts}, {&w.runs, b.runs}} {
		*list.dst = take[int32](o, len(list.src))
		send(o, *list.dst, list.src)
	}
	w.most, w.sum, w.z, w.factor = take[float32](o, r), take[float32](o, r), take[float32](o, r), take[float32](o, r)
	w.du = take[float32](o, r*d)
	w.loss, w.tau = take[float64](o, r), take[float64](o, r)
	w.u, w.dv = device.Matrix(take[float32](o, r*d), r, d), device.Matrix(take[float32](o, p*d), p, d)
	return w
}

// forward goes as far as the users' gradient, which needs nothing of the items'.
func (w *lossSpace) forward(o op, a *device.AllAction) {
	dim, half := a.Users.Cols, o.l.half
	o.gather(w.u, a.Users, w.token, false)
	o.launch("loss_partition", grid{blocks(w.rows, tile), 1}, 256, w.most, w.sum, w.u.Data, w.rows, dim, a.Items, a.Pool, a.PoolBias, a.Mask, w.segment, a.InvTau, half)
	o.launch("loss_band", rowsOf(w.rows), 128, w.z, w.factor, w.loss, w.du, w.most, w.sum, w.u.Data, w.rows, dim, a.Items, a.Items.Rows, a.Positive, a.PosBias,
		w.token, w.lo, w.hi, a.Weight, a.InvTau, half, o.l.bad)
	o.launch("loss_users", grid{blocks(w.rows, tile), blocks(dim, tile)}, 256, w.du, w.factor, w.most, w.u.Data, w.rows, dim, a.Items, a.Pool, a.PoolBias, a.Mask,
		w.segment, a.InvTau, half)
}

// items: those of the pool first, then the positives.
func (w *lossSpace) items(o op, a *device.AllAction, dItems device.Mat) {
	dim, half := a.Users.Cols, o.l.half
	o.launch("loss_items", grid{blocks(a.Pool, tile), blocks(dim, tile)}, 256, dItems, w.factor, w.most, w.u.Data, w.rows, dim, a.Items, a.Pool, a.PoolBias, a.Mask,
		w.segment, a.InvTau, half)
	o.launch("loss_positives", rowsOf(a.Positive.N), 128, w.dv.Data, a.Positive.N, w.z, w.u.Data, dim, a.Items, a.Items.Rows, a.Positive, a.PosBias, w.token,
		w.starts, w.runs, a.Weight, a.InvTau, half)
	o.scatter(dItems, w.dv, a.Positive)
}
