package standin

import (
	"math"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/floats"
)

// dense is a row-major matrix.
type dense struct {
	rows, cols int
	data       []float64
}

func newDense(rows, cols int) *dense { return &dense{rows, cols, make([]float64, rows*cols)} }

func (d *dense) row(i int) []float64 { return d.data[i*d.cols : (i+1)*d.cols : (i+1)*d.cols] }

// normalise brings rows to unit length; rows of zeros stay.
func (d *dense) normalise() {
	for i := range d.rows {
		row := d.row(i)
		if norm := math.Sqrt(floats.Dot(row, row)); norm > 0 {
			floats.Scale(1/norm, row)
		}
	}
}

func beside(a, b *dense) *dense {
	out := newDense(a.rows, a.cols+b.cols)
	for i := range a.rows {
		copy(out.row(i), a.row(i))
		copy(out.row(i)[a.cols:], b.row(i))
	}
	return out
}

// sparse is a matrix in compressed rows.
type sparse struct {
	cols   int
	offset []int
	column []int32
	value  []float32
}

func newSparse(cols int) *sparse { return &sparse{cols: cols, offset: []int{0}} }

func (s *sparse) rows() int { return len(s.offset) - 1 }

// end closes a row.
func (s *sparse) end() { s.offset = append(s.offset, len(s.column)) }

func (s *sparse) transpose() *sparse {
	t := &sparse{cols: s.rows(), offset: make([]int, s.cols+1), column: make([]int32, len(s.column)), value: make([]float32, len(s.value))}
	for _, c := range s.column {
		t.offset[c+1]++
	}
	for c := range s.cols {
		t.offset[c+1] += t.offset[c]
	}
	next := append([]int(nil), t.offset...)
	for i := range s.rows() {
		for k := s.offset[i]; k < s.offset[i+1]; k++ {
			at := next[s.column[k]]
			next[s.column[k]]++
			t.column[at], t.value[at] = int32(i), s.value[k]
		}
	}
	return t
}

// times is s*d. Each row of the result is summed by one goroutine, in the order of the entries: how the rows are spread does not matter.
func (s *sparse) times(d *dense) *dense {
	out := newDense(s.rows(), d.cols)
	inParallel(s.rows(), func(from, to int) {
		for i := from; i < to; i++ {
			row := out.row(i)
			for k := s.offset[i]; k < s.offset[i+1]; k++ {
				floats.AddScaled(row, float64(s.value[k]), d.row(int(s.column[k])))
			}
		}
	})
	return out
}

// gram is the product of the transpose with d itself.
func (d *dense) gram() *dense {
	g := newDense(d.cols, d.cols)
	for i := range d.rows {
		row := d.row(i)
		for c, x := range row {
			floats.AddScaled(g.row(c)[c:], x, row[c:])
		}
	}
	for a := range d.cols {
		for b := range a {
			g.row(a)[b] = g.row(b)[a]
		}
	}
	return g
}

// inParallel covers 0..n-1 with calls of f on runs that do not overlap.
func inParallel(n int, f func(from, to int)) {
	const run = 64
	var next int
	var mu sync.Mutex
	take := func() (from, to int) {
		mu.Lock()
		defer mu.Unlock()
		from = next
		next = min(n, next+run)
		return from, next
	}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				from, to := take()
				if from == to {
					return
				}
				f(from, to)
			}
		})
	}
	wg.Wait()
}
