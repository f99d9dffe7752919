package allreduce

import (
	"hash/crc32"
	"unsafe"

	"github.com/ringleader-dev/ringleader/exact"
)

const _ = littleEndian

// number is what the ring sums.
type number interface {
	int64 | int32 | int16 | int8 | uint16 | float32
}

// combine puts what came from another member into dst, element by element; both are of one length.
type combine[T number] func(dst, src []T)

func sizeOf[T number]() int { var z T; return int(unsafe.Sizeof(z)) }

// bytesOf is the memory of x, which is its encoding.
func bytesOf[T number](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*sizeOf[T]())
}

// combinePayload puts the elements of a payload, which has as many as dst, into it. It returns the checksums of the payload and of dst.
func combinePayload[T number](dst []T, p Payload, into combine[T]) (sum, result uint32) {
	size := sizeOf[T]()
	var cut [8]byte // an element that is in several parts
	held := 0
	put := func(n int, src []byte) {
		combineBytes(dst[:n], src, into)
		result = crc32.Update(result, castagnoli, bytesOf(dst[:n]))
		dst = dst[n:]
	}
	for part := range p.parts() {
		sum = crc32.Update(sum, castagnoli, part)
		if held > 0 {
			n := copy(cut[held:size], part)
			held, part = held+n, part[n:]
			if held < size {
				continue
			}
			put(1, cut[:size])
		}
		n := len(part) / size
		put(n, part[:n*size])
		held = copy(cut[:], part[n*size:])
	}
	return sum, result
}

// copyPayload copies a payload as long as dst, and returns its checksum.
func copyPayload(dst []byte, p Payload) (sum uint32) {
	for part := range p.parts() {
		sum = crc32.Update(sum, castagnoli, part)
		dst = dst[copy(dst, part):]
	}
	return sum
}

// combineBytes puts the elements encoded in src into dst: straight from src if it is aligned, else by way of a small buffer. src encodes
// as many elements as dst has.
func combineBytes[T number](dst []T, src []byte, into combine[T]) {
	size := sizeOf[T]()
	if uintptr(unsafe.Pointer(unsafe.SliceData(src)))%uintptr(size) == 0 {
		into(dst, unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(src))), len(src)/size))
		return
	}
	var part [512]T
	for len(dst) > 0 {
		n := copy(bytesOf(part[:]), src) / size
		into(dst[:n], part[:n])
		dst, src = dst[n:], src[n*size:]
	}
}

func add[T number](dst, src []T) {
	dst = dst[:len(src)]
	for i := addBlocks(dst, src); i < len(src); i++ {
		dst[i] += src[i]
	}
}

// larger keeps the larger of two elements.
func larger(dst, src []int8) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = max(dst[i], v)
	}
}

// addBFloat16 adds in float32 and rounds to bfloat16, to nearest even.
func addBFloat16(dst, src []uint16) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = exact.ToBFloat16(exact.FromBFloat16(dst[i]) + exact.FromBFloat16(v))
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
