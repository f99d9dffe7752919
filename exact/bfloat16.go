package exact

import "math"

// ToBFloat16 is the nearest bfloat16, ties to even, as its bits. What is too large becomes infinity; NaN stays NaN.
func ToBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 1<<6 // the bits that made it NaN may be among those that go
	}
	return uint16((b + 0x7FFF + b>>16&1) >> 16)
}

// FromBFloat16 converts from bfloat16, exactly.
func FromBFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
