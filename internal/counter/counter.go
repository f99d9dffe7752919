// Package counter is the only source of randomness: counter-based, so that a number depends on what it
// is for and never on who draws it, when, or in which order.
//
// A stream is named by a key made of (seed, purpose, parts...), for example (seed, Dropout, step, shard,
// layer). Number i of a stream is SplitMix64 of key + (i+1) times the golden ratio, which every device can
// compute on its own.
package counter

import "math/bits"

const golden = 0x9E3779B97F4A7C15

// Purpose separates streams that share a seed. The values are part of a job's bits: never renumber.
type Purpose uint64

// Purposes.
const (
	Init      Purpose = 1  // initial parameters; parts: tensor index
	Order     Purpose = 2  // permutation of a shard's users; parts: epoch, shard
	Window    Purpose = 3  // end of a user's window; parts: epoch, user
	InBatch   Purpose = 4  // in-batch negatives; parts: step, shard
	Random    Purpose = 5  // uniform negatives; parts: step, shard
	Dropout   Purpose = 6  // parts: step, shard, place in the network
	Label     Purpose = 7  // sampled labels; parts: step, shard
	Bootstrap Purpose = 8  // intervals of the evaluation
	Holdout   Purpose = 9  // evaluation users, at import
	Sketch    Purpose = 10 // random projections of the stand-in item vectors
)

// Mix is the finaliser of SplitMix64: a bijection of 64-bit words that scatters every bit.
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// Key names a stream.
func Key(seed uint64, purpose Purpose, parts ...uint64) uint64 {
	k := Mix(seed + golden*uint64(purpose))
	for _, p := range parts {
		k = Mix(k + golden*(p+1))
	}
	return k
}

// At is number i of the stream.
func At(key, i uint64) uint64 { return Mix(key + golden*(i+1)) }

// Below maps number i of the stream onto 0..n-1; n must be positive. (Multiply-shift: the bias is below n/2^64.)
func Below(key, i uint64, n int) int {
	hi, _ := bits.Mul64(At(key, i), uint64(n))
	return int(hi)
}

// Unit maps number i of the stream onto [0, 1) in steps of 2^-53.
func Unit(key, i uint64) float64 { return float64(At(key, i)>>11) * 0x1p-53 }

// Perm is the permutation of 0..n-1 that the stream defines (Fisher-Yates).
func Perm(key uint64, n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		j := Below(key, uint64(i), i+1)
		p[i], p[j] = p[j], int32(i)
	}
	return p
}
