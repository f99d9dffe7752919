package exact

// FirstExponents are those of n blocks of which nothing is known yet. By them converts what is too small to have an exponent of its own, and no gradient
// worth the name.
func FirstExponents(n int) []int8 {
	e := make([]int8, n)
	for b := range e {
		e[b] = MinExponent + 1
	}
	return e
}

// NextExponents sets next[b] to the exponent by which block b converts in the coming step, from the one that the largest element of all shards has in
// this step, seen[b] (RaiseExponents, from MinExponent on): room bits above it, and room is at least 1. A block without a gradient says nothing, and keeps the exponent
// of this step, now[b]. What was seen converts by next, unless it is 2^(MaxExponent-1) or more.
func NextExponents(next, now, seen []int8, room int) {
	for b, largest := range seen {
		next[b] = now[b]
		if largest > MinExponent {
			next[b] = int8(min(int(largest)+room, MaxExponent))
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
