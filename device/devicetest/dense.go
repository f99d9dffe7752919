package devicetest

import (
	"fmt"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

func transfer(e *env) {
	x := e.floats(1000, 1)
	a, b := buf(e, x), buf(e, make([]float32, 1000))
	e.lane.Copy(b.Addr, a.Addr, a.Bytes())
	device.Zero(e.lane, a.Slice(10, 20))
	same(e, "copy", read(e, b), x)
	clear(x[10:20])
	same(e, "zero", read(e, a), x)
	e.lane.Copy(b.Addr, a.Addr, 0)
	e.lane.Zero(b.Addr, 0)
}

// product is op(a)*op(b), a being m x k and b k x n after op.
func product(a []float64, transA bool, b []float64, transB bool, m, n, k int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for p := range k {
				x, y := i*k+p, p*n+j
				if transA {
					x = p*m + i
				}
				if transB {
					y = j*k + p
				}
				c[i*n+j] += a[x] * b[y]
			}
		}
	}
	return c
}

func matMul(e *env) {
	shapes := [][3]int{{0, 3, 4}, {3, 0, 2}, {2, 3, 0}, {1, 1, 1}, {5, 7, 3}, {33, 17, 65}, {1, 64, 5}, {64, 1, 37}, {130, 40, 71}}
	for _, s := range shapes {
		for trans := range 4 {
			for _, gap := range []int{0, 3} {
				e.matMul(s[0], s[1], s[2], trans&1 != 0, trans&2 != 0, gap, 1, 0)
				e.matMul(s[0], s[1], s[2], trans&1 != 0, trans&2 != 0, gap, -0.5, 2)
			}
		}
	}
}

func (e *env) matMul(m, n, k int, transA, transB bool, gap int, alpha, beta float32) {
	a, b, c := e.normal(m, k), e.normal(k, n), e.normal(m, n)
	if transA {
		a.rows, a.cols = a.cols, a.rows
	}
	if transB {
		b.rows, b.cols = b.cols, b.rows
	}
	before := wide(c.v)
	if beta == 0 {
		c = junk(m, n)
		clear(before)
	}
	dst := e.mat(c, gap)
	e.lane.MatMul(dst, alpha, e.mat(a, gap), transA, e.mat(b, 2*gap), transB, beta)
	name := fmt.Sprintf("%dx%dx%d transA %v transB %v gap %d alpha %v beta %v", m, n, k, transA, transB, gap, alpha, beta)
	e.near(name, e.get(dst), func() []float64 {
		p := product(wide(a.v), transA, wide(b.v), transB, m, n, k)
		for i := range p {
			p[i] = float64(alpha)*p[i] + float64(beta)*before[i]
		}
		return p
	})
}

func linear(e *env) {
	for _, s := range [][3]int{{0, 3, 4}, {1, 1, 1}, {1, 9, 4}, {6, 5, 7}, {9, 4, 11}} {
		for _, gap := range []int{0, 5} {
			e.linear(s[0], s[1], s[2], gap)
		}
	}
}

func (e *env) linear(rows, in, out, gap int) {
	name := fmt.Sprintf("%d rows, %d to %d, gap %d: ", rows, in, out, gap)
	x, w, bias, dy := e.normal(rows, in), e.normal(out, in), e.floats(out, 1), e.normal(rows, out)
	xf, wf, bf, dyf := wide(x.v), wide(w.v), wide(bias), wide(dy.v)
	forward := func() []float64 {
		y := product(xf, false, wf, true, rows, out, in)
		for i := range y {
			y[i] += bf[i%out]
		}
		return y
	}
	dx, dw, db := e.mat(junk(rows, in), gap), e.normal(out, in), e.floats(out, 1)
	xm, wm, dym := e.mat(x, gap), e.mat(w, gap), e.mat(dy, gap)
	y, biasBuf, dwm, dbm := e.mat(junk(rows, out), gap), buf(e, bias), e.mat(dw, gap), buf(e, db)
	e.lane.Linear(y, xm, wm, biasBuf)
	e.lane.LinearBackward(dx, dwm, dbm, dym, xm, wm, device.Mat{})
	e.near(name+"y", e.get(y), forward)

	loss := func() float64 { return dot(forward(), dyf) }
	e.near(name+"dx", e.get(dx), func() []float64 { return gradient(loss, xf) })
	e.near(name+"dw", e.get(dwm), func() []float64 { return plus(wide(dw.v), gradient(loss, wf)) })
	e.near(name+"dbias", read(e, dbm), func() []float64 { return plus(wide(db), gradient(loss, bf)) })

	// What is not wanted is left out.
	y = e.mat(junk(rows, out), gap)
	e.lane.Linear(y, xm, wm, device.F32{})
	e.lane.LinearBackward(device.Mat{}, dwm, device.F32{}, dym, xm, wm, device.Mat{})
	e.near(name+"y without bias", e.get(y), func() []float64 { return product(xf, false, wf, true, rows, out, in) })
	e.near(name+"dw twice", e.get(dwm), func() []float64 {
		g := gradient(loss, wf)
		return plus(plus(wide(dw.v), g), g)
	})
}

// linearLarge reaches the blocking of matrix products and of column sums.
func linearLarge(e *env) {
	const rows, in, out = 300, 131, 150
	x, w, bias, dy := e.normal(rows, in), e.normal(out, in), e.floats(out, 1), e.normal(rows, out)
	xm, wm, dym := e.mat(x, 0), e.mat(w, 0), e.mat(dy, 0)
	y, dx, dw, db := e.mat(junk(rows, out), 0), e.mat(junk(rows, in), 0), e.mat(grid{out, in, make([]float32, out*in)}, 0), buf(e, make([]float32, out))
	e.lane.Linear(y, xm, wm, buf(e, bias))
	e.lane.LinearBackward(dx, dw, db, dym, xm, wm, device.Mat{})
	e.near("y", e.get(y), func() []float64 {
		p := product(wide(x.v), false, wide(w.v), true, rows, out, in)
		for i := range p {
			p[i] += float64(bias[i%out])
		}
		return p
	})
	e.near("dx", e.get(dx), func() []float64 { return product(wide(dy.v), false, wide(w.v), false, rows, in, out) })
	e.near("dw", e.get(dw), func() []float64 { return product(wide(dy.v), true, wide(x.v), false, out, in, rows) })
	e.near("dbias", read(e, db), func() []float64 {
		ones := make([]float64, rows)
		for i := range ones {
			ones[i] = 1
		}
		return product(ones, false, wide(dy.v), false, 1, out, rows)
	})
}

func add(e *env) {
	for _, s := range [][3]int{{0, 4, 0}, {1, 1, 0}, {7, 13, 0}, {7, 13, 3}, {3, 100, 28}} {
		a, b := e.normal(s[0], s[1]), e.normal(s[0], s[1])
		want := make([]float32, len(a.v))
		for i := range want {
			want[i] = a.v[i] + b.v[i]
		}
		am, bm, dst := e.mat(a, s[2]), e.mat(b, 2*s[2]), e.mat(junk(s[0], s[1]), s[2])
		e.lane.Add(dst, am, bm)
		e.lane.Add(am, am, bm)
		same(e, "sum", e.get(dst), want)
		same(e, "sum in place", e.get(am), want)
	}
}

func dropout(e *env) {
	for _, s := range [][3]int{{0, 4, 0}, {1, 1, 0}, {9, 37, 0}, {9, 37, 3}} {
		for _, rate := range []float32{0, 0.1, 0.5, 0.875} {
			key := e.rng.Uint64()
			x := e.normal(s[0], s[1])
			want := make([]float32, len(x.v))
			for i := range want {
				if kept(device.Dropping{Key: key, Rate: rate}, i) {
					want[i] = x.v[i] / (1 - rate)
				}
			}
			xm, y := e.mat(x, s[2]), e.mat(junk(s[0], s[1]), s[2])
			e.lane.Dropout(y, xm, device.Dropping{Key: key, Rate: rate})
			e.lane.Dropout(xm, xm, device.Dropping{Key: key, Rate: rate})
			same(e, "dropout", e.get(y), want)
			same(e, "dropout in place", e.get(xm), want)
		}
	}
}

// kept tells whether dropout keeps element i.
func kept(d device.Dropping, i int) bool {
	return float64(counter.At(d.Key, uint64(i))>>40) >= float64(d.Rate)*(1<<24)
}
