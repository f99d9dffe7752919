// The codecs exact16 and exact32: exact.ToBlocks and exact.FromBlocks, bit for bit. Scaling by a power of two is exact in float32 wherever the result
// matters: what it makes too large does not convert, and what it makes subnormal is far below a half.
#include "kernels.h"
#include "scalar.h"

enum { BLOCK = 256, MIN_EXPONENT = -96, MAX_EXPONENT = 96 };

INLINE int64_t block_end(int64_t lo, int64_t n) { return lo + BLOCK < n ? lo + BLOCK : n; }

INLINE void cpu_raise_exponents_body(cpu_lane *l, uintptr_t exponents, uintptr_t x, int64_t n)
{
	(void)l;
	int8_t *e = (int8_t *)exponents;
	const uint32_t *p = (const uint32_t *)x;
	for (int64_t lo = 0; lo < n; lo += BLOCK) {
		int32_t largest = 0;
		for (int64_t i = lo; i < block_end(lo, n); i++) {
			int32_t size = (int32_t)(p[i] & 0x7FFFFFFF);
			largest = size > largest ? size : largest;
		}
		int32_t beyond = (largest >> 23) - 126;
		beyond = beyond < MIN_EXPONENT ? MIN_EXPONENT : beyond > MAX_EXPONENT ? MAX_EXPONENT : beyond;
		if (beyond > e[lo / BLOCK]) e[lo / BLOCK] = (int8_t)beyond;
	}
}
KERNEL_AS(void, , cpu_raise_exponents, (cpu_lane * l, uintptr_t exponents, uintptr_t x, int64_t n), l, exponents, x, n)

#define TWO23 8388608.0f // from here on floats are whole numbers

// power is 2^e, for e within -126..127.
INLINE float power(int e) { return float_of((uint32_t)(e + 127) << 23); }

// whole_word16 and whole_word32 round y to the nearest even integer: 0 unless ok, which is to say that its magnitude, size, is below 2^15 or 2^31.
INLINE uint32_t whole_word16(float y, float size, int32_t ok)
{
	(void)size;
	return (bits_of(y + ROUND_FLOAT) - bits_of(ROUND_FLOAT)) & -(uint32_t)ok;
}

INLINE uint32_t whole_word32(float y, float size, int32_t ok)
{
	float whole = choose(size < TWO23, (size + TWO23) - TWO23, size);
	return (uint32_t)(int32_t)float_of((bits_of(whole) | (bits_of(y) & 0x80000000)) & -(uint32_t)ok);
}

// TO_BLOCK is one block. Loops over a block count in words of the size of an element, for the sake of vectors; NaN are looked for only if something did not convert.
#define TO_BLOCK(word, unsigned_word)                                                                                                  \
	INLINE void to_block_##word(unsigned_word *sum, const float *p, int32_t n, float scale, float limit, int64_t *bad)                 \
	{                                                                                                                                  \
		int32_t nan = 0, kept = 0;                                                                                                     \
		uint32_t added = 0;                                                                                                            \
		ELEMENTWISE                                                                                                                    \
		for (int32_t i = 0; i < n; i++) {                                                                                              \
			float y = p[i] * scale, size = float_of(bits_of(y) & 0x7FFFFFFF);                                                          \
			int32_t ok = size < limit; /* false for NaN */                                                                             \
			uint32_t k = whole_##word(y, size, ok);                                                                                    \
			sum[i] = (unsigned_word)(sum[i] + (unsigned_word)k);                                                                       \
			added += k;                                                                                                                \
			kept += ok;                                                                                                                \
		}                                                                                                                              \
		if (kept < n)                                                                                                                  \
			for (int32_t i = 0; i < n; i++) nan += p[i] != p[i];                                                                       \
		bad[0] += nan;                                                                                                                 \
		bad[1] += n - kept - nan;                                                                                                      \
		bad[2] += added;                                                                                                               \
	}

typedef uint16_t word16;
typedef uint32_t word32;
TO_BLOCK(word16, word16)
TO_BLOCK(word32, word32)

#define TO_BLOCKS(name, word)                                                                                                          \
	INLINE void name##_body(cpu_lane *l, uintptr_t acc, uintptr_t x, int64_t n, uintptr_t exponents, int fraction, uintptr_t bad)      \
	{                                                                                                                                 \
		(void)l;                                                                                                                      \
		const int8_t *e = (const int8_t *)exponents;                                                                                  \
		/* 2^fraction - 1/2, or what is as good where floats have no halves */                                                        \
		float limit = fraction < 24 ? power(fraction) - 0.5f : power(fraction);                                                       \
		for (int64_t lo = 0; lo < n; lo += BLOCK)                                                                                     \
			to_block_##word((word *)acc + lo, (const float *)x + lo, (int32_t)(block_end(lo, n) - lo), power(fraction - e[lo / BLOCK]), \
				limit, (int64_t *)bad);                                                                                               \
	}                                                                                                                                 \
	KERNEL_AS(void, , name, (cpu_lane * l, uintptr_t acc, uintptr_t x, int64_t n, uintptr_t exponents, int fraction, uintptr_t bad), l, \
		acc, x, n, exponents, fraction, bad)

TO_BLOCKS(cpu_to_blocks16, word16)
TO_BLOCKS(cpu_to_blocks32, word32)

// simple tells whether floats do for a block: products of words and a power of two lose nothing but what words of 32 bits lose in becoming floats, as long as
// they are neither subnormal nor infinite. So it is if the divisor is a power of two.
INLINE int simple(double scale) { return (bits_of_double(scale) & 0xFFFFFFFFFFFFFull) == 0 && scale >= 0x1p-126 && scale <= 0x1p96; }

#define FROM_BLOCKS(name, word)                                                                                                        \
	INLINE void name##_body(cpu_lane *l, uintptr_t x, uintptr_t acc, int64_t n, uintptr_t exponents, int fraction, double divisor)     \
	{                                                                                                                                  \
		(void)l;                                                                                                                       \
		const int8_t *e = (const int8_t *)exponents;                                                                                   \
		float *d = (float *)x;                                                                                                         \
		const word *p = (const word *)acc;                                                                                             \
		for (int64_t lo = 0; lo < n; lo += BLOCK) {                                                                                    \
			double scale = double_of((uint64_t)(e[lo / BLOCK] - fraction + 1023) << 52) / divisor;                                     \
			float power_of_two = (float)scale;                                                                                         \
			if (simple(scale)) {                                                                                                       \
				ELEMENTWISE                                                                                                            \
				for (int64_t i = lo; i < block_end(lo, n); i++) d[i] = (float)p[i] * power_of_two;                                     \
			} else {                                                                                                                   \
				ELEMENTWISE                                                                                                            \
				for (int64_t i = lo; i < block_end(lo, n); i++) d[i] = (float)((double)p[i] * scale);                                  \
			}                                                                                                                          \
		}                                                                                                                              \
	}                                                                                                                                  \
	KERNEL_AS(void, , name, (cpu_lane * l, uintptr_t x, uintptr_t acc, int64_t n, uintptr_t exponents, int fraction, double divisor), l,\
		x, acc, n, exponents, fraction, divisor)

FROM_BLOCKS(cpu_from_blocks16, int16_t)
FROM_BLOCKS(cpu_from_blocks32, int32_t)
