package exact

// NoExponents are n exponents of blocks of which nothing is known yet: no gradient worth the name converts by them.
func NoExponents(n int) []int8 {
	e := make([]int8, n)
	for b := range e {
		e[b] = MinExponent
	}
	return e
}

// NextExponents sets next[b] to the exponent by which block b converts in the coming step, given the one of this step, now[b], and the one
// that the largest element of all shards in this step has, seen[b]: room bits above that one, and at most one below the one before, for gradients come in
// peaks. A block without a gradient says nothing, and keeps its own. What was seen converts by next, unless it is beyond MaxExponent. room is at least 1.
func NextExponents(next, now, seen []int8, room int) {
	for b, largest := range seen {
		next[b] = now[b]
		if largest > MinExponent {
			next[b] = int8(min(max(int(largest)+room, int(now[b])-1), MaxExponent))
		}
	}
}

// ExponentWords are exponents as the digest sees them: each is a word, in two's complement.
func ExponentWords(e []int8) []uint32 {
	words := make([]uint32, len(e))
	for b, v := range e {
		words[b] = uint32(int32(v))
	}
	return words
}
