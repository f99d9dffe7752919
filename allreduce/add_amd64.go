package allreduce

import "unsafe"

// blockBytes is what the assembly adds at a time.
const blockBytes = 64

//go:noescape
func addBlocksFloat32(dst, src unsafe.Pointer, blocks int)

//go:noescape
func addBlocksInt64(dst, src unsafe.Pointer, blocks int)

//go:noescape
func addBlocksInt32(dst, src unsafe.Pointer, blocks int)

//go:noescape
func addBlocksInt16(dst, src unsafe.Pointer, blocks int)

// addBlocks adds whole blocks of src to dst and returns the number of elements that were in them.
func addBlocks[T number](dst, src []T) int {
	var zero T
	blocks := len(src) * sizeOf[T]() / blockBytes
	d, s := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src))
	switch any(zero).(type) {
	case float32:
		addBlocksFloat32(d, s, blocks)
	case int64:
		addBlocksInt64(d, s, blocks)
	case int32:
		addBlocksInt32(d, s, blocks)
	case int16:
		addBlocksInt16(d, s, blocks)
	default:
		return 0
	}
	return blocks * (blockBytes / sizeOf[T]())
}
