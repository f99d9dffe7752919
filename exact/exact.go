// Package exact holds what makes sums and proofs exact: fixed point, the step's trailer, the fixed tree of the
// global norm and the digest of a state. Devices and the ring both speak it.
package exact

import (
	"math"
	"math/bits"
)

// FractionBits is the scale of the codec exact64: a gradient x travels as round(x * 2^48). Float32 has 24 bits of
// mantissa, so every value of at least 2^-24 in magnitude converts without error and none by more than 2^-49.
const FractionBits = 48

// MaxShards is the largest number of shards for which Limit leaves any range at all.
const MaxShards = 1 << (63 - FractionBits)

// Limit is the magnitude below which a shard's value converts: then the sum over the given number of shards stays
// below 2^63 in any order. It is 0, so that nothing converts, if shards is not within 1..MaxShards.
func Limit(shards int) float32 {
	if shards < 1 || shards > MaxShards {
		return 0
	}
	return float32(uint64(1) << (63 - FractionBits - bits.Len(uint(shards-1))))
}

// ToFixed adds round-to-nearest-even(x[i] * 2^FractionBits) to acc[i] and counts the values that it did not add: NaN,
// and those of magnitude limit or more (infinities too). sum is that of what it added, mod 2^64. It is the definition that devices are held to. The slices are
// of one length.
func ToFixed(acc []int64, x []float32, limit float32) (nan, over, sum int64) {
	acc = acc[:len(x)]
	for i, v := range x {
		switch {
		case v != v:
			nan++
		case v >= limit || v <= -limit:
			over++
		default:
			// Exact in float64: 24 bits of mantissa times a power of two.
			k := int64(math.RoundToEven(float64(v) * (1 << FractionBits)))
			acc[i] += k
			sum += k
		}
	}
	return nan, over, sum
}

// FromFixed sets x[i] = float32(float64(acc[i]) / 2^FractionBits / divisor). The slices are of one length.
func FromFixed(x []float32, acc []int64, divisor float64) {
	x = x[:len(acc)]
	for i, v := range acc {
		x[i] = float32(float64(v) / (1 << FractionBits) / divisor)
	}
}
