package exact

import (
	"math"
	"math/bits"
)

// The codecs exact32 and exact16 give the elements of a block a common exponent e, at least as large as that of the largest one, and send an
// element x as round(x * 2^(fraction-e)), in words of 32 or 16 bits. Blocks lie at absolute offsets of the flat vector, so that buckets and members
// cannot shift them.
//
// Exponents are taken from what is known before, and a shard's element may turn out larger: it does not convert, which all members learn. What does
// convert can be summed over all shards in any order.

// BlockElements is the size of a block.
const BlockElements = 256

// Exponents of a block are within these: a byte holds one, and 2^(fraction-e) is a float32.
const (
	MinExponent = -96
	MaxExponent = 96
)

// Word is what an element is sent as.
type Word interface{ int16 | int32 }

// Blocks is the number of blocks of n elements.
func Blocks(n int) int { return (n + BlockElements - 1) / BlockElements }

// Fraction is how many bits a shard's element has beside its sign, in words of the given size, so that the sum over all shards fits. It
// is 0, so that nothing converts, if there are more shards than leave a bit, or none.
func Fraction(wordBits, shards int) int {
	if shards < 1 {
		return 0
	}
	return max(0, wordBits-1-bits.Len(uint(shards-1)))
}

// BlockError bounds what one shard's element of a block loses.
func BlockError(exponent int8, fraction int) float64 {
	return math.Ldexp(1, int(exponent)-fraction-1)
}

// RaiseExponents raises e[b], for each block b of x, to the smallest exponent whose power of two is beyond the block's magnitudes. For infinities
// and NaN, and whatever is too large, that is MaxExponent.
func RaiseExponents(e []int8, x []float32) {
	for b := range Blocks(len(x)) {
		largest := uint32(0) // bits of magnitudes are in the order of magnitudes, and NaN is above them
		for _, v := range x[b*BlockElements : min(len(x), (b+1)*BlockElements)] {
			largest = max(largest, math.Float32bits(v)&^(1<<31))
		}
		e[b] = max(e[b], int8(min(max(int(largest>>23)-126, MinExponent), MaxExponent)))
	}
}

// ToBlocks adds round-to-nearest-even(x[i] * 2^(fraction-e)) to acc[i], e being the exponent of its block, and counts the values that
// it did not add: NaN, and those that would be 2^fraction or more in magnitude. sum is that of what it added. It is the definition that devices are held to. x
// begins with a block.
func ToBlocks[W Word](acc []W, x []float32, e []int8, fraction int) (nan, over, sum int64) {
	acc = acc[:len(x)]
	limit := math.Ldexp(1, fraction) - 0.5
	for i, v := range x {
		y := math.Ldexp(float64(v), fraction-int(e[i/BlockElements])) // exact
		switch {
		case y != y:
			nan++
		case y >= limit || y <= -limit:
			over++
		default:
			k := math.RoundToEven(y)
			acc[i] += W(k)
			sum += int64(k)
		}
	}
	return nan, over, sum
}

// FromBlocks sets x[i] = float32(float64(acc[i]) * (2^(e-fraction) / divisor)): one division for a block.
func FromBlocks[W Word](x []float32, acc []W, e []int8, fraction int, divisor float64) {
	x = x[:len(acc)]
	for i, v := range acc {
		x[i] = float32(float64(v) * (math.Ldexp(1, int(e[i/BlockElements])-fraction) / divisor))
	}
}
