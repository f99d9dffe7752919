package device

import (
	"fmt"

	"github.com/ringleader-dev/ringleader/exact"
)

// Check looks at the arguments of one call of an operator, before anything of it is computed: at all that shapes can tell. Backends share it, so that the
// same misuse is the same error on every device.
type Check struct {
	Operator, Device string
	First            *error // the lane's first failure, which Fail sets and nothing resets
}

// OK tells that nothing failed, in this call or before.
func (c Check) OK() bool { return *c.First == nil }

// Fail notes a failure, unless there was one.
func (c Check) Fail(format string, args ...any) {
	if *c.First == nil {
		*c.First = fmt.Errorf("run "+c.Operator+" on "+c.Device+": "+format, args...)
	}
}

// Want fails unless the condition holds.
func (c Check) Want(ok bool, format string, args ...any) {
	if !ok {
		c.Fail(format, args...)
	}
}

// Mat checks that m is a rows x cols matrix within its buffer.
func (c Check) Mat(name string, m Mat, rows, cols int) {
	switch {
	case rows < 0 || cols < 0 || m.Rows != rows || m.Cols != cols:
		c.Fail("%s is %d x %d: want %d x %d", name, m.Rows, m.Cols, rows, cols)
	case rows == 0 || cols == 0:
	case m.Data.Addr == 0:
		c.Fail("%s has no memory: want %d x %d", name, rows, cols)
	case m.Stride < cols:
		c.Fail("%s has stride %d: want at least its %d columns", name, m.Stride, cols)
	case m.Data.N < cols || rows-1 > (m.Data.N-cols)/m.Stride:
		c.Fail("%s of %d x %d, stride %d, has a buffer of %d elements only", name, rows, cols, m.Stride, m.Data.N)
	}
}

// Wanted is Mat, unless m is zero: not wanted.
func (c Check) Wanted(name string, m Mat, rows, cols int) {
	if !m.IsZero() {
		c.Mat(name, m, rows, cols)
	}
}

// CheckVec checks that b has n elements.
func CheckVec[T Number](c Check, name string, b Buf[T], n int) {
	switch {
	case n < 0 || b.N != n:
		c.Fail("%s has %d elements: want %d", name, b.N, n)
	case n > 0 && b.Addr == 0:
		c.Fail("%s has no memory: want %d elements", name, n)
	}
}

// CheckRoom checks that b has n elements at least.
func CheckRoom[T Number](c Check, name string, b Buf[T], n int) {
	if b.N < n || b.Addr == 0 {
		c.Fail("%s has %d elements: want %d", name, b.N, n)
	}
}

// MatMul checks the operands of a product.
func (c Check) MatMul(dst, a Mat, transA bool, b Mat, transB bool) {
	inner, brows, bcols := a.Cols, a.Cols, dst.Cols
	if transA {
		inner, brows = a.Rows, a.Rows
		c.Mat("a", a, inner, dst.Rows)
	} else {
		c.Mat("a", a, dst.Rows, inner)
	}
	if transB {
		brows, bcols = bcols, brows
	}
	c.Mat("b", b, brows, bcols)
	c.Mat("dst", dst, dst.Rows, dst.Cols)
}

// Linear checks the operands of a map with a bias.
func (c Check) Linear(y, x, w Mat, bias F32) {
	c.Mat("x", x, x.Rows, x.Cols)
	c.Mat("w", w, w.Rows, x.Cols)
	c.Mat("y", y, x.Rows, w.Rows)
	CheckVec(c, "bias", bias, w.Rows)
}

// LinearBackward checks the operands of a map's backward, of which dx, slope, dw and dbias may not be wanted.
func (c Check) LinearBackward(dx, dw Mat, dbias F32, dy, x, w, slope Mat) {
	c.Mat("dy", dy, dy.Rows, dy.Cols)
	c.Mat("x", x, dy.Rows, x.Cols)
	c.Mat("w", w, dy.Cols, x.Cols)
	c.Wanted("dx", dx, x.Rows, x.Cols)
	c.Wanted("slope", slope, x.Rows, x.Cols)
	c.Wanted("dw", dw, w.Rows, w.Cols)
	if dbias.N != 0 {
		CheckVec(c, "dbias", dbias, dy.Cols)
	}
}

// Norm checks what a normalisation of x takes.
func (c Check) Norm(x Mat, n Norm) {
	c.Mat("norm.Y", n.Y, x.Rows, x.Cols)
	CheckVec(c, "norm.Gamma", n.Gamma, x.Cols)
	CheckVec(c, "norm.Beta", n.Beta, x.Cols)
	CheckVec(c, "norm.Mean", n.Mean, x.Rows)
	CheckVec(c, "norm.RStd", n.RStd, x.Rows)
}

// NormBackward checks what a normalisation's backward takes.
func (c Check) NormBackward(dx Mat, dgamma, dbeta F32, dy, x Mat, gamma, mean, rstd F32) {
	c.Mat("x", x, x.Rows, x.Cols)
	c.Mat("dy", dy, x.Rows, x.Cols)
	c.Mat("dx", dx, x.Rows, x.Cols)
	CheckVec(c, "gamma", gamma, x.Cols)
	CheckVec(c, "dgamma", dgamma, x.Cols)
	CheckVec(c, "dbeta", dbeta, x.Cols)
	CheckVec(c, "mean", mean, x.Rows)
	CheckVec(c, "rstd", rstd, x.Rows)
}

// Dropping checks a rate.
func (c Check) Dropping(d Dropping) {
	c.Want(d.Rate >= 0 && d.Rate < 1, "drop.Rate is %v: want at least 0 and less than 1", d.Rate)
}

// Rows checks that list has a row for each index, and table as many columns.
func (c Check) Rows(listName string, list Mat, tableName string, table Mat, index I32) {
	c.Mat(listName, list, list.Rows, list.Cols)
	c.Mat(tableName, table, table.Rows, list.Cols)
	CheckVec(c, "index", index, list.Rows)
}

// Times checks what an encoding of times takes; lanes is called name.
func (c Check) Times(name string, lanes Mat, times I64, periods F64, phases F32) {
	c.Mat(name, lanes, times.N, 2*periods.N+1)
	CheckVec(c, "times", times, times.N)
	CheckVec(c, "periods", periods, periods.N)
	CheckVec(c, "phases", phases, 2*periods.N)
}

// Heads checks what attention takes.
func (c Check) Heads(out, qkv Mat, lse F32, seg Segments, heads int) {
	c.Mat("out", out, out.Rows, out.Cols)
	c.Mat("qkv", qkv, out.Rows, 3*out.Cols)
	c.Want(heads > 0 && out.Cols%max(heads, 1) == 0, "heads is %d: want a divisor of the width, %d", heads, out.Cols)
	c.Segments(seg, out.Rows)
	if c.OK() {
		CheckVec(c, "lse", lse, out.Rows*heads)
	}
}

// Segments checks that they cover the tokens.
func (c Check) Segments(s Segments, tokens int) {
	if len(s.Host) == 0 {
		c.Want(tokens == 0, "there are no segments: want offsets 0..%d", tokens)
		return
	}
	last := int32(0)
	c.Want(s.Host[0] == 0, "segments begin at %d: want 0", s.Host[0])
	for i, at := range s.Host {
		if at < last {
			c.Fail("offset %d of segments is %d, less than the %d before", i, at, last)
			return
		}
		last = at
	}
	c.Want(int(last) == tokens, "segments end at %d: want the number of tokens, %d", last, tokens)
}

// CheckBlocks checks what conversions with exponents have in common: fraction is within 0..most. That exponents are within their range is for the caller to
// see to: no value makes them write elsewhere.
func CheckBlocks[T Number](c Check, acc Buf[T], x F32, exponents I8, fraction, most int) {
	CheckVec(c, "acc", acc, x.N)
	CheckVec(c, "x", x, x.N)
	CheckVec(c, "exponents", exponents, exact.Blocks(x.N))
	c.Want(fraction >= 0 && fraction <= most, "fraction is %d bits: want 0..%d", fraction, most)
}

// AllAction checks what the loss takes, and gives: out, dUsers and, if it is wanted, dItems.
func (c Check) AllAction(out F64, dUsers, dItems Mat, a *AllAction) {
	if a == nil {
		c.Fail("there is no description of the loss")
		return
	}
	tokens := a.Users.Rows
	c.Mat("Users", a.Users, tokens, a.Users.Cols)
	c.Mat("Items", a.Items, a.Items.Rows, a.Users.Cols)
	// A shard without users has no pool either.
	c.Want(a.Pool >= 1 && a.Pool <= a.Items.Rows || a.Pool == 0 && tokens == 0, "Pool is %d: want 1..%d", a.Pool, a.Items.Rows)
	CheckVec(c, "PoolBias", a.PoolBias, a.Pool)
	c.Segments(a.Seg, tokens)
	CheckVec(c, "Mask", a.Mask, a.Seg.Count()*((a.Pool+31)/32))
	CheckVec(c, "Weight", a.Weight, tokens)
	CheckVec(c, "Positive", a.Positive, a.Positive.N)
	CheckVec(c, "PosBias", a.PosBias, a.Positive.N)
	c.Want(len(a.Lo) == tokens && len(a.Hi) == tokens, "Lo and Hi have %d and %d elements: want %d", len(a.Lo), len(a.Hi), tokens)
	if c.OK() {
		c.bands(a)
	}
	CheckRoom(c, "out", out, 2)
	c.Mat("dUsers", dUsers, a.Users.Rows, a.Users.Cols)
	c.Wanted("dItems", dItems, a.Items.Rows, a.Items.Cols)
}

// bands checks that they are within the positives and do not decrease within a segment: kernels take the positives of a run of tokens from its first and last.
func (c Check) bands(a *AllAction) {
	for s := range a.Seg.Count() {
		lo, hi := int32(0), int32(0)
		for m := a.Seg.Host[s]; m < a.Seg.Host[s+1]; m++ {
			if a.Lo[m] == a.Hi[m] {
				continue
			}
			if a.Lo[m] < lo || a.Hi[m] < max(hi, a.Lo[m]) || int(a.Hi[m]) > a.Positive.N {
				c.Fail("token %d has the band %d..%d after %d..%d: want non-decreasing within 0..%d", m, a.Lo[m], a.Hi[m], lo, hi, a.Positive.N)
				return
			}
			lo, hi = a.Lo[m], a.Hi[m]
		}
	}
}
