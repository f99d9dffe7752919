package allreduce

import (
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

// combinePayload puts the elements of a payload, which has as many as dst, into it.
func combinePayload[T number](dst []T, p Payload, into combine[T]) {
	size := sizeOf[T]()
	var part [8]byte // an element that is in several pieces
	held := 0
	for _, piece := range p {
		if held > 0 {
			n := copy(part[held:size], piece)
			held, piece = held+n, piece[n:]
			if held < size {
				continue
			}
			combineBytes(dst[:1], part[:size], into)
			dst = dst[1:]
		}
		n := len(piece) / size
		combineBytes(dst[:n], piece[:n*size], into)
		dst, held = dst[n:], copy(part[:], piece[n*size:])
	}
}

// copyPayload copies a payload as long as dst.
func copyPayload(dst []byte, p Payload) {
	for _, piece := range p {
		dst = dst[copy(dst, piece):]
	}
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
