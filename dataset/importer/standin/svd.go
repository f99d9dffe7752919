package standin

import (
	"context"
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// Of the randomised method: more directions than are wanted, and rounds of iteration that sharpen them.
const (
	oversample = 10
	rounds     = 2
)

// truncatedSVD approximates U*weight(S) of the leading k singular vectors: the randomised range finder of Halko, Martinsson and Tropp (2011)
// with subspace iteration, from counter-based projections. Fewer rows or columns than k leave columns of zeros.
func truncatedSVD(ctx context.Context, a *sparse, k int, weight func(float64) float64) (*dense, error) {
	width := min(k+oversample, a.rows(), a.cols)
	t := a.transpose()
	q := a.times(projection(a.cols, width))
	for range rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q.orthonormalise()
		z := t.times(q)
		z.orthonormalise()
		q = a.times(z)
	}
	q.orthonormalise()
	// A ~ Q B with B = Q'A, so that BB' = W S^2 W' and U = Q W.
	g := t.times(q).gram()
	var eigen mat.EigenSym
	if !eigen.Factorize(mat.NewSymDense(width, g.data), true) {
		return nil, errors.New("the eigenvalue iteration does not converge")
	}
	values := eigen.Values(nil) // ascending
	var w mat.Dense
	eigen.VectorsTo(&w)
	scaled := newDense(width, k)
	for c := range min(k, width) {
		from := width - 1 - c
		s := weight(math.Sqrt(max(values[from], 0)))
		sign := signOf(&w, from)
		for r := range width {
			scaled.row(r)[c] = sign * s * w.At(r, from)
		}
	}
	return q.times(scaled), nil
}

// signOf makes the largest entry of a vector positive: an eigenvector's sign is nobody's.
func signOf(w *mat.Dense, c int) float64 {
	rows, _ := w.Dims()
	most := 0.0
	for r := range rows {
		if x := w.At(r, c); math.Abs(x) > math.Abs(most) {
			most = x
		}
	}
	return math.Copysign(1, most)
}

// projection is uniform on [-1, 1): like normal numbers it favours no direction that matters, and needs no logarithm.
func projection(rows, cols int) *dense {
	d := newDense(rows, cols)
	key := counter.Key(0, counter.Sketch)
	for i := range d.data {
		d.data[i] = 2*counter.Unit(key, uint64(i)) - 1
	}
	return d
}

// times is d*e with a small e.
func (d *dense) times(e *dense) *dense {
	out := newDense(d.rows, e.cols)
	for i := range d.rows {
		row := out.row(i)
		for k, x := range d.row(i) {
			for c, y := range e.row(k) {
				row[c] += x * y
			}
		}
	}
	return out
}

// orthonormalise replaces the columns by an orthonormal basis of what they span, by Cholesky's factor of the Gram matrix, twice:
// once is not enough for columns that are nearly parallel. Columns that depend on those before become zeros.
func (d *dense) orthonormalise() {
	for range 2 {
		r := cholesky(d.gram())
		for i := range d.rows {
			solve(r, d.row(i))
		}
	}
}

// cholesky returns the upper triangle R with G = R'R; a pivot that is nothing but rounding leaves its row zero.
func cholesky(g *dense) *dense {
	n := g.rows
	largest := 0.0
	for i := range n {
		largest = max(largest, g.row(i)[i])
	}
	r := newDense(n, n)
	for i := range n {
		pivot := g.row(i)[i]
		for k := range i {
			pivot -= r.row(k)[i] * r.row(k)[i]
		}
		if pivot <= largest*1e-13 {
			continue
		}
		root := math.Sqrt(pivot)
		r.row(i)[i] = root
		for j := i + 1; j < n; j++ {
			x := g.row(i)[j]
			for k := range i {
				x -= r.row(k)[i] * r.row(k)[j]
			}
			r.row(i)[j] = x / root
		}
	}
	return r
}

// solve replaces x by x R^-1.
func solve(r *dense, x []float64) {
	for i := range x {
		row := r.row(i)
		if row[i] == 0 {
			x[i] = 0
			continue
		}
		x[i] /= row[i]
		for j := i + 1; j < len(x); j++ {
			x[j] -= x[i] * row[j]
		}
	}
}
