package allreduce

import "unsafe"

const _ = littleEndian

// number is what the ring sums.
type number interface {
	int64 | int32 | int16 | float32
}

func sizeOf[T number]() int { var z T; return int(unsafe.Sizeof(z)) }

// bytesOf is the memory of x, which is its encoding.
func bytesOf[T number](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*sizeOf[T]())
}

// addPayload adds the elements of a payload, which has as many as dst.
func addPayload[T number](dst []T, p Payload) {
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
			addBytes(dst[:1], part[:size])
			dst = dst[1:]
		}
		n := len(piece) / size
		addBytes(dst[:n], piece[:n*size])
		dst, held = dst[n:], copy(part[:], piece[n*size:])
	}
}

// copyPayload copies a payload as long as dst.
func copyPayload(dst []byte, p Payload) {
	for _, piece := range p {
		dst = dst[copy(dst, piece):]
	}
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
	for i := addBlocks(dst, src); i < len(src); i++ {
		dst[i] += src[i]
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
