package exact

import "unsafe"

// blockBytes is what the assembly sums at a time.
const blockBytes = 64

// mostBlocks keeps the lanes of sumBlocksInt16 from overflowing: a block adds at most 2^18 in magnitude to one.
const mostBlocks = 1 << 12

//go:noescape
func sumBlocksInt16(lanes *[4]int32, data unsafe.Pointer, blocks int)

// sumBlocksInt32 sums words with their highest bit flipped, that is 2^31 larger, as if they had no sign.
//
//go:noescape
func sumBlocksInt32(lanes *[2]uint64, data unsafe.Pointer, blocks int)

// sumBlocks sums whole blocks, and returns the number of elements that were in them. Elements of 64 bits are as fast without it.
func sumBlocks[W Word | int64](data []W) (sum int64, done int) {
	switch data := any(data).(type) {
	case []int16:
		const block = blockBytes / 2
		for rest := len(data) / block; rest > 0; {
			n := min(rest, mostBlocks)
			var lanes [4]int32
			sumBlocksInt16(&lanes, unsafe.Pointer(&data[done]), n)
			for _, v := range lanes {
				sum += int64(v)
			}
			rest, done = rest-n, done+n*block
		}
	case []int32:
		const block = blockBytes / 4
		if blocks := len(data) / block; blocks > 0 {
			var lanes [2]uint64
			sumBlocksInt32(&lanes, unsafe.Pointer(&data[0]), blocks)
			done = blocks * block
			sum = int64(lanes[0] + lanes[1] - uint64(done)<<31)
		}
	}
	return sum, done
}
