package exact

// The shape of the norm's tree is part of a job's bits.
const (
	normBlock = 4096
	normLanes = 256
)

// SquaredNorm is the sum of squares of x in float64, added in an order that every device can follow: in each block of 4,096
// elements, lane l of 256 adds the squares of elements l, l+256, ... in increasing order; then lane l adds lane l+s for the strides
// s = 128, 64, ..., 1; then adjacent blocks are added in pairs, an odd last one is carried to the next round, until one sum remains.
func SquaredNorm(x []float32) float64 {
	sums := make([]float64, 0, (len(x)+normBlock-1)/normBlock)
	for lo := 0; lo < len(x); lo += normBlock {
		sums = append(sums, blockNorm(x[lo:min(lo+normBlock, len(x))]))
	}
	return SumPairs(sums)
}

func blockNorm(x []float32) float64 {
	var lanes [normLanes]float64
	for i, v := range x {
		// The square is exact in float64 (24 + 24 bits), so a fused multiply-add could not change the bits either.
		lanes[i%normLanes] += float64(float64(v) * float64(v))
	}
	for s := normLanes / 2; s > 0; s /= 2 {
		for l := range s {
			lanes[l] += lanes[l+s]
		}
	}
	return lanes[0]
}

// SumPairs is the tree of SquaredNorm above its blocks: adjacent sums are added in pairs, an odd last one is carried, until one remains. The norms of parts that begin
// at multiples of the same power of two of blocks add up to that of the whole. It overwrites s; the sum of nothing is 0.
func SumPairs(s []float64) float64 {
	if len(s) == 0 {
		return 0
	}
	for len(s) > 1 {
		n := 0
		for i := 0; i+1 < len(s); i += 2 {
			s[n] = s[i] + s[i+1]
			n++
		}
		if len(s)%2 == 1 {
			s[n] = s[len(s)-1]
			n++
		}
		s = s[:n]
	}
	return s[0]
}
