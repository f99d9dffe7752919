package evaluation

// embeddings score by inner products of unit vectors in float32.
type embeddings struct {
	dim   int
	items []float32 // items x dim
	users []float32 // rows x dim
}

// tile is how many items are scored for all members of a block before the next ones are fetched: they stay in the cache.
const tile = 256

func (e *embeddings) scores(which []int, dst [][]float64) error {
	n := len(e.items) / e.dim
	for lo := 0; lo < n; lo += tile {
		for j, k := range which {
			user := e.users[k*e.dim : (k+1)*e.dim]
			for i := lo; i < min(lo+tile, n); i++ {
				dst[j][i] = float64(dot(user, e.items[i*e.dim:(i+1)*e.dim]))
			}
		}
	}
	return nil
}

// dot adds the products in four lanes, in a fixed order: equal vectors have equal scores wherever they stand.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		s0 += float32(a[0] * b[0])
		s1 += float32(a[1] * b[1])
		s2 += float32(a[2] * b[2])
		s3 += float32(a[3] * b[3])
	}
	for i := range a {
		s0 += float32(a[i] * b[i])
	}
	return (s0 + s1) + (s2 + s3)
}
