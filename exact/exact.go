// Package exact holds what makes sums and proofs exact: fixed point, the step's trailer, the fixed tree of the
// global norm and the digest of a state. Devices and the ring both speak it.
package exact

import "math/bits"

// FractionBits is the scale of the codec exact64: a gradient x travels as round(x * 2^48). Float32 has 24 bits of
// mantissa, so every value of at least 2^-24 in magnitude converts without error and none by more than 2^-49.
const FractionBits = 48

// Limit is the magnitude below which a shard's value converts: then the sum over the given number of shards stays
// below 2^63 in any order.
func Limit(shards int) float32 {
	return float32(uint64(1) << (63 - FractionBits - bits.Len(uint(shards-1))))
}
