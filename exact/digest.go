package exact

import (
	"math"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

const golden = 0x9E3779B97F4A7C15

// WordHash is what the 32-bit word with index i of a state (in canonical order) contributes to its digest. The digest is the sum of
// all contributions mod 2^64, so that parts can be hashed anywhere and in any order. A word is multiplied by an odd number of its index's
// own, from the square of a Weyl sequence (Widynski, "Middle Square Weyl Sequence RNG"): a change of one word always changes the sum, and it takes two
// multiplications of 32 bits, which vector units have: states are hashed in every step.
func WordHash(word uint32, i uint64) uint64 {
	x := (i + 1) * golden
	k := uint64(uint32(x)) * (x >> 32)
	return uint64(word^uint32(k)) * (k>>32 | 1)
}

// HashFloats is the sum of WordHash over the bits of x, whose first element has index first.
func HashFloats(x []float32, first uint64) uint64 {
	var sum uint64
	for i, v := range x {
		sum += WordHash(math.Float32bits(v), first+uint64(i))
	}
	return sum
}

// HashWords is the sum of WordHash over x, whose first element has index first.
func HashWords(x []uint32, first uint64) uint64 {
	var sum uint64
	for i, v := range x {
		sum += WordHash(v, first+uint64(i))
	}
	return sum
}

// FinishDigest makes the digest of a state from the sum of its words' hashes, its step and its job's digest.
func FinishDigest(sum uint64, step ringleader.Step, job ringleader.Digest) ringleader.Digest {
	h := counter.Mix(sum + golden)
	h = counter.Mix(h ^ (uint64(step) + golden))
	return ringleader.Digest(counter.Mix(h ^ (uint64(job) + golden)))
}
