package safetensors

import "math"

// ToHalf converts to IEEE half precision: to nearest, ties to even, as all hardware does it. What is too large becomes infinity; NaN stays NaN.
func ToHalf(x float32) uint16 {
	b := math.Float32bits(x)
	sign, b := uint16(b>>16)&0x8000, b&0x7FFFFFFF
	switch {
	case b > 0x7F800000: // NaN
		return sign | 0x7E00
	case b >= 0x47800000: // 2^16 and more, infinity
		return sign | 0x7C00
	case b < 0x38800000: // below 2^-14 halves are multiples of 2^-24: adding 2^-1, whose last bit is that, rounds to them
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3F000000)
	default: // 13 bits of the fraction go; a carry may go up to the exponent, and from there to infinity
		return sign | uint16((b-0x38000000+0xFFF+b>>13&1)>>13)
	}
}

// FromHalf converts from IEEE half precision, exactly.
func FromHalf(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exponent {
	case 0: // zero and subnormal: fraction * 2^-24
		return math.Float32frombits(math.Float32bits(float32(fraction)*0x1p-24) | sign)
	case 31: // infinity and NaN
		return math.Float32frombits(sign | 0x7F800000 | fraction<<13)
	default:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
}
