package allreduce

import "unsafe"

const _ = littleEndian

// number is what the ring sums.
type number interface{ int64 | float32 }

func sizeOf[T number]() int { var z T; return int(unsafe.Sizeof(z)) }

// bytesOf is the memory of x, which is its encoding.
func bytesOf[T number](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*sizeOf[T]())
}

// addBytes adds the elements encoded in src to dst: straight from src if it is aligned, else by way of a small buffer. src encodes
// as many elements as dst has.
func addBytes[T number](dst []T, src []byte) {
	size := sizeOf[T]()
	if uintptr(unsafe.Pointer(unsafe.SliceData(src)))%uintptr(size) == 0 {
		add(dst, unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(src))), len(src)/size))
		return
	}
	var part [512]T
	for len(dst) > 0 {
		n := copy(bytesOf(part[:]), src) / size
		add(dst[:n], part[:n])
		dst, src = dst[n:], src[n*size:]
	}
}

func add[T number](dst, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] += v
	}
}

// partition cuts n elements into one segment a member, whose sizes differ by at most one, and segments into chunks.
type partition struct {
	n, members, chunk int // chunk: elements
}

func (p partition) segment(s int) (lo, hi int) {
	// In this form the product cannot overflow where n itself does not.
	q, r := p.n/p.members, p.n%p.members
	lo = s*q + min(s, r)
	hi = lo + q
	if s < r {
		hi++
	}
	return lo, hi
}

// chunks is the number of chunks of segment s: at least one, so that every hop has a frame even where there are fewer elements than members.
func (p partition) chunks(s int) int {
	lo, hi := p.segment(s)
	return max(1, (hi-lo+p.chunk-1)/p.chunk)
}

// at is the range of elements of chunk c of segment s.
func (p partition) at(s, c int) (lo, hi int) {
	lo, hi = p.segment(s)
	lo += c * p.chunk
	return lo, min(lo+p.chunk, hi)
}
