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

// whole_word16 and whole_word32 round y to the nearest even integer, modulo 2^16 or 2^32, if its magnitude, size, is below limit. Where it is not, words of 16 bits are
// anything, and those of 32 bits 0.
INLINE uint32_t whole_word16(float y, float size, float limit)
{
	(void)size, (void)limit;
	return bits_of(y + ROUND_FLOAT) - bits_of(ROUND_FLOAT);
}

INLINE uint32_t whole_word32(float y, float size, float limit)
{
	float whole = choose(size < TWO23, (size + TWO23) - TWO23, size);
	return (uint32_t)(int32_t)float_of((bits_of(whole) | (bits_of(y) & 0x80000000)) & -(uint32_t)(size < limit));
}

// TO_BLOCK is one block. Loops over a block count in words of the size of an element, for the sake of vectors. Everything is added, and what should not have been is
// taken back: there is hardly ever any. Magnitudes compare as their bits do, and NaN are above all others.
#define TO_BLOCK(word, unsigned_word)                                                                                                  \
	INLINE void to_block_##word(unsigned_word *sum, const float *p, int32_t n, float scale, float limit, int64_t *bad)                 \
	{                                                                                                                                  \
		int32_t largest = 0, nan = 0, over = 0;                                                                                        \
		uint32_t added = 0;                                                                                                            \
		ELEMENTWISE                                                                                                                    \
		for (int32_t i = 0; i < n; i++) {                                                                                              \
			float y = p[i] * scale;                                                                                                    \
			int32_t size = (int32_t)(bits_of(y) & 0x7FFFFFFF);                                                                         \
			uint32_t k = whole_##word(y, float_of((uint32_t)size), limit);                                                             \
			sum[i] = (unsigned_word)(sum[i] + (unsigned_word)k);                                                                       \
			added += k;                                                                                                                \
			largest = size > largest ? size : largest;                                                                                 \
		}                                                                                                                              \
		if (largest >= (int32_t)bits_of(limit)) {                                                                                      \
			ELEMENTWISE                                                                                                                \
			for (int32_t i = 0; i < n; i++) {                                                                                          \
				float y = p[i] * scale, size = float_of(bits_of(y) & 0x7FFFFFFF);                                                      \
				int32_t good = size < limit, number = p[i] == p[i]; /* NaN is neither */                                               \
				uint32_t k = whole_##word(y, size, limit) & ~-(uint32_t)good;                                                          \
				sum[i] = (unsigned_word)(sum[i] - (unsigned_word)k);                                                                   \
				added -= k;                                                                                                            \
				nan += !number;                                                                                                        \
				over += number & !good;                                                                                                \
			}                                                                                                                          \
		}                                                                                                                              \
		bad[0] += nan;                                                                                                                 \
		bad[1] += over;                                                                                                                \
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

// Vectors of this many bytes do not stay in a core's cache: they are written past it, so that what they overwrite is not read.
#define FROM_PAST (1 << 20)

#define FROM_BLOCKS(name, word)                                                                                                        \
	INLINE void name##_body(cpu_lane *l, uintptr_t x, uintptr_t acc, int64_t n, uintptr_t exponents, int fraction, double divisor)     \
	{                                                                                                                                  \
		(void)l;                                                                                                                       \
		const int8_t *e = (const int8_t *)exponents;                                                                                   \
		float *d = (float *)x, block[BLOCK];                                                                                           \
		int past = n * (int64_t)sizeof *d >= FROM_PAST && x % 16 == 0;                                                                 \
		for (int64_t lo = 0; lo < n; lo += BLOCK) {                                                                                    \
			double scale = double_of((uint64_t)(e[lo / BLOCK] - fraction + 1023) << 52) / divisor;                                     \
			float power_of_two = (float)scale, *to = past ? block : d + lo;                                                            \
			const word *p = (const word *)acc + lo;                                                                                    \
			int32_t length = (int32_t)(block_end(lo, n) - lo);                                                                         \
			if (simple(scale)) {                                                                                                       \
				ELEMENTWISE                                                                                                            \
				for (int32_t i = 0; i < length; i++) to[i] = (float)p[i] * power_of_two;                                               \
			} else {                                                                                                                   \
				ELEMENTWISE                                                                                                            \
				for (int32_t i = 0; i < length; i++) to[i] = (float)((double)p[i] * scale);                                            \
			}                                                                                                                          \
			if (past) past_caches((uintptr_t)(d + lo), (uintptr_t)block, (size_t)length * sizeof *d);                                  \
		}                                                                                                                              \
		if (past) past_done();                                                                                                         \
	}                                                                                                                                  \
	KERNEL_AS(void, , name, (cpu_lane * l, uintptr_t x, uintptr_t acc, int64_t n, uintptr_t exponents, int fraction, double divisor), l, \
		x, acc, n, exponents, fraction, divisor)

FROM_BLOCKS(cpu_from_blocks16, int16_t)
FROM_BLOCKS(cpu_from_blocks32, int32_t)
