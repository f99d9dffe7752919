package device

// Spread runs do on lanes of one device, several at a time, for pieces of n elements, and returns when all are done. Pieces follow one another, begin at multiples of
// Piece and are Piece long but for the last. Which lane gets which is left to chance: what do computes must not depend on it.
type Spread func(n int, do func(l Lane, lo, hi int))

// Piece is how many elements are worked on at a time where a flat vector is shared between lanes: it fits into a cache, and it is a power of two of the blocks of
// exact.SquaredNorm.
const Piece = 1 << 16

// Pieces is how many pieces n elements are.
func Pieces(n int) int { return (n + Piece - 1) / Piece }

// OneLane is the Spread over a single lane.
func OneLane(l Lane) Spread {
	return func(n int, do func(l Lane, lo, hi int)) {
		for lo := 0; lo < n; lo += Piece {
			do(l, lo, min(lo+Piece, n))
		}
		_ = l.Sync() // waits for what was issued; an error stays with the lane
	}
}
