package timed

import "github.com/ringleader-dev/ringleader/device"

// Product is a matrix product C[M,N] = op(A) op(B), with K the inner size.
type Product struct {
	M, N, K        int
	TransA, TransB bool
}

// FLOPs are the multiplications and additions.
func (p Product) FLOPs() float64 { return 2 * float64(p.M) * float64(p.N) * float64(p.K) }

// blockRows is how many rows of a loss's or an attention's scores are taken at a time: all of them would not be in memory at once.
const blockRows = 128

func matMul(dst, a device.Mat, transA, transB bool) []Product {
	p := Product{M: dst.Rows, N: dst.Cols, K: a.Cols, TransA: transA, TransB: transB}
	if transA {
		p.K = a.Rows
	}
	return []Product{p}
}

// linear is that of a linear map, whatever follows it.
func linear(x, w device.Mat) []Product {
	return []Product{{M: x.Rows, N: w.Rows, K: x.Cols, TransB: true}}
}

// linearBackward are the gradients of the input and of the weight, if they are wanted.
func linearBackward(dx, dw, dy, x device.Mat) (list []Product) {
	if !dx.IsZero() {
		list = append(list, Product{M: dy.Rows, N: x.Cols, K: dy.Cols})
	}
	if !dw.IsZero() {
		list = append(list, Product{M: dy.Cols, N: x.Cols, K: dy.Rows, TransA: true})
	}
	return list
}

// attention are the two products of every head: scores and their average of values; of a block's scores those up to its last row.
func attention(qkv device.Mat, seg device.Segments, heads int) (list []Product) {
	eachBlock(qkv, seg, heads, func(rows, columns, d int) {
		list = append(list, Product{M: rows, N: columns, K: d, TransB: true}, Product{M: rows, N: d, K: columns})
	})
	return list
}

// attentionBackward are five: the scores once more, and the gradients of values, weights, queries and keys.
func attentionBackward(qkv device.Mat, seg device.Segments, heads int) (list []Product) {
	eachBlock(qkv, seg, heads, func(rows, columns, d int) {
		scores := Product{M: rows, N: columns, K: d, TransB: true}
		values := Product{M: columns, N: d, K: rows, TransA: true}
		list = append(list, scores, scores, values, values, Product{M: rows, N: d, K: columns})
	})
	return list
}

func eachBlock(qkv device.Mat, seg device.Segments, heads int, yield func(rows, columns, d int)) {
	if heads < 1 || len(seg.Host) == 0 {
		return // misuse, of which the device will complain
	}
	d := qkv.Cols / 3 / heads
	for s := range seg.Count() {
		n := int(seg.Host[s+1] - seg.Host[s])
		for lo := 0; lo < n; lo += blockRows {
			hi := min(lo+blockRows, n)
			for range heads {
				yield(hi-lo, hi, d)
			}
		}
	}
}

// allAction are the products with the pool: scores, the users' gradient and, if it is wanted, the items'; and those with the positives,
// of tokens that are neighbours.
func allAction(dItems device.Mat, a *device.AllAction) (list []Product) {
	if a == nil || len(a.Seg.Host) == 0 || len(a.Lo) != len(a.Hi) || len(a.Lo) != int(a.Seg.Host[a.Seg.Count()]) {
		return nil
	}
	add := func(rows, columns int) {
		d := a.Users.Cols
		list = append(list, Product{M: rows, N: columns, K: d, TransB: true}, Product{M: rows, N: d, K: columns})
		if !dItems.IsZero() {
			list = append(list, Product{M: columns, N: d, K: rows, TransA: true})
		}
	}
	const neighbours = 32
	tokens := 0
	for s := range a.Seg.Count() {
		for first := int(a.Seg.Host[s]); first < int(a.Seg.Host[s+1]); first += neighbours {
			lo, hi, rows := int32(0), int32(0), 0
			for m := first; m < min(first+neighbours, int(a.Seg.Host[s+1])); m++ {
				if a.Lo[m] >= a.Hi[m] {
					continue
				}
				if rows++; rows == 1 {
					lo = a.Lo[m]
				}
				hi = a.Hi[m]
			}
			if tokens += rows; rows > 0 {
				add(rows, int(hi-lo))
			}
		}
	}
	for lo := 0; lo < tokens; lo += blockRows {
		add(min(blockRows, tokens-lo), a.Pool)
	}
	return list
}
