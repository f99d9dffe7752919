package exact

// SumInt64 is the sum of data mod 2^64. It is linear: the sums of the members' data add up to the sum of their summed data, if that fits.
func SumInt64[W Word | int64](data []W) int64 {
	sum, done := sumBlocks(data)
	for _, v := range data[done:] {
		sum += int64(v)
	}
	return sum
}
