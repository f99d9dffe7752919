//go:build cuda

package cuda

import "github.com/ringleader-dev/ringleader/device"

// want fails unless the condition holds.
func (o op) want(ok bool, format string, args ...any) {
	if !ok {
		o.fail(format, args...)
	}
}

// mat checks that m is a rows x cols matrix within its buffer.
func (o op) mat(name string, m device.Mat, rows, cols int) {
	switch {
	case rows < 0 || cols < 0 || m.Rows != rows || m.Cols != cols:
		o.fail("%s is %d x %d: want %d x %d", name, m.Rows, m.Cols, rows, cols)
	case rows == 0 || cols == 0:
	case m.Data.Addr == 0:
		o.fail("%s has no memory: want %d x %d", name, rows, cols)
	case m.Stride < cols:
		o.fail("%s has stride %d: want at least its %d columns", name, m.Stride, cols)
	case m.Data.N < cols || rows-1 > (m.Data.N-cols)/m.Stride:
		o.fail("%s of %d x %d, stride %d, has a buffer of %d elements only", name, rows, cols, m.Stride, m.Data.N)
	}
}

// wanted is mat, unless m is zero: not wanted.
func (o op) wanted(name string, m device.Mat, rows, cols int) {
	if !m.IsZero() {
		o.mat(name, m, rows, cols)
	}
}

// vec checks that b has n elements.
func vec[T device.Number](o op, name string, b device.Buf[T], n int) {
	switch {
	case n < 0 || b.N != n:
		o.fail("%s has %d elements: want %d", name, b.N, n)
	case n > 0 && b.Addr == 0:
		o.fail("%s has no memory: want %d elements", name, n)
	}
}

// room checks that b has n elements at least.
func room[T device.Number](o op, name string, b device.Buf[T], n int) {
	if b.N < n || b.Addr == 0 {
		o.fail("%s has %d elements: want %d", name, b.N, n)
	}
}

// segments checks that they cover the tokens.
func (o op) segments(s device.Segments, tokens int) {
	if len(s.Host) == 0 {
		o.want(tokens == 0, "there are no segments: want offsets 0..%d", tokens)
		return
	}
	last := int32(0)
	o.want(s.Host[0] == 0, "segments begin at %d: want 0", s.Host[0])
	for i, at := range s.Host {
		if at < last {
			o.fail("offset %d of segments is %d, less than the %d before", i, at, last)
			return
		}
		last = at
	}
	o.want(int(last) == tokens, "segments end at %d: want the number of tokens, %d", last, tokens)
}

// linear checks the operands of a map with a bias.
func (o op) linear(y, x, w device.Mat, bias device.F32) {
	o.mat("x", x, x.Rows, x.Cols)
	o.mat("w", w, w.Rows, x.Cols)
	o.mat("y", y, x.Rows, w.Rows)
	vec(o, "bias", bias, w.Rows)
}

func (o op) norm(x device.Mat, n device.Norm) {
	o.mat("norm.Y", n.Y, x.Rows, x.Cols)
	vec(o, "norm.Gamma", n.Gamma, x.Cols)
	vec(o, "norm.Beta", n.Beta, x.Cols)
	vec(o, "norm.Mean", n.Mean, x.Rows)
	vec(o, "norm.RStd", n.RStd, x.Rows)
}

func (o op) dropping(d device.Dropping) {
	o.want(d.Rate >= 0 && d.Rate < 1, "drop.Rate is %v: want at least 0 and less than 1", d.Rate)
}

// segmentCount is 0 for no offsets at all, which an empty shard may have.
func segmentCount(s device.Segments) int { return max(s.Count(), 0) }

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

// bands checks that they are within the positives and do not decrease within a segment: ranges of tokens are made from that.
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
