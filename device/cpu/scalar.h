// Elementary functions that compilers can vectorise and that give the same bits everywhere (the C library's do not: it picks variants
// by processor). Coefficients are minimax fits of our own. NaN goes in and comes out.
#ifndef CPU_SCALAR_H
#define CPU_SCALAR_H

#include "kernels.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

INLINE float float_of(uint32_t bits) { float f; memcpy(&f, &bits, sizeof f); return f; }
INLINE uint32_t bits_of(float f) { uint32_t b; memcpy(&b, &f, sizeof b); return b; }
INLINE double double_of(uint64_t bits) { double f; memcpy(&f, &bits, sizeof f); return f; }
INLINE uint64_t bits_of_double(double f) { uint64_t b; memcpy(&b, &f, sizeof b); return b; }

// choose is (yes ? a : b) by bits. Both are computed: a branch around arithmetic that may raise a floating-point flag would keep
// compilers from vectorising a loop.
INLINE float choose(int yes, float a, float b)
{
	uint32_t m = -(uint32_t)yes;
	return float_of((bits_of(a) & m) | (bits_of(b) & ~m));
}

// Adding and subtracting these rounds to the nearest even integer, |x| < 2^22 and 2^51, and leaves it in the low bits of the sum.
#define ROUND_FLOAT 12582912.0f         // 1.5 * 2^23
#define ROUND_DOUBLE 6755399441055744.0 // 1.5 * 2^52

// round_even rounds to the nearest even integer.
INLINE double round_even(double x) { return (x + ROUND_DOUBLE) - ROUND_DOUBLE; }

// exp_f: relative error below 1.5e-7 for x in [-80, 0], which is all that softmax, Gauss and sigmoid ask for; 0 below; not defined above 88. It ends well
// before floats become subnormal, on which processors are a hundred times slower: what is made of the result is not subnormal either. Polynomials here
// and below are split in halves: a processor waits for the longest chain of operations.
INLINE float exp_f(float x)
{
	float c = choose(x < -80.0f, -80.0f, x);
	float t = c * 1.44269504f + ROUND_FLOAT;
	float n = t - ROUND_FLOAT;
	float r = c - n * 0.693359375f; // exact: the constant has 9 bits
	r = r + n * 2.12194440e-4f;
	float w = r * r;
	float q = (0.5f + r * 0.166665770256f) + w * (0.0416665546621f + r * 8.36317307451e-3f + w * 1.39261761199e-3f);
	float y = 1.0f + (r + w * q);
	y = y * float_of((bits_of(t) + 127) << 23); // 2^n; a NaN stays one through the product
	return choose(x < -80.0f, 0.0f, y);
}

// log1p_f is log(1+e) for e in [0, 1], by 2 atanh(e/(2+e)).
INLINE float log1p_f(float e)
{
	float s = e / (2.0f + e), w = s * s;
	float q = 0.139825788726f + w * 0.140788891816f;
	q = 0.200122976154f + w * q;
	q = 0.333331608207f + w * q;
	q = 1.0f + w * q;
	return 2.0f * s * q;
}

// log_d: log(0) = -inf, of a negative number or NaN it is NaN. x must not be subnormal.
INLINE double log_d(double x)
{
	if (!(x > 0)) return x == 0 ? -__builtin_inf() : __builtin_nan("");
	if (x > 1.7976931348623157e308) return x;
	// Take the mantissa from [sqrt(1/2), sqrt 2), so that log 1 = 0 exactly.
	uint64_t bits = bits_of_double(x), shift = bits - 0x3FE6A09E667F3BCDull;
	int64_t e = (int64_t)shift >> 52;
	double m = double_of(bits - ((uint64_t)e << 52));
	double s = (m - 1.0) / (m + 1.0), w = s * s, q = 1.0 / 21;
	for (int k = 19; k >= 1; k -= 2) q = 1.0 / k + w * q;
	return (double)e * 0.69314718055994530942 + 2.0 * s * q;
}

// half_erfc is erfc(|x|/sqrt 2)/2, that is the normal distribution's tail beyond |x|, given gauss = exp(-x*x/2): gauss times a
// polynomial in t = 1/(1 + 0.3|x|/sqrt 2). Relative error below 3e-7 where the tail matters to a float32.
INLINE float half_erfc(float x, float gauss)
{
	float z = float_of(bits_of(x) & 0x7FFFFFFF);
	float t = 1.0f / (1.0f + 0.212132034f * z);
	float t2 = t * t, t4 = t2 * t2;
	float q = (0.169175102608f + t * 0.170914156259f) + t2 * (0.147045419084f + t * 0.219567114848f);
	q = q + t4 * ((-0.104712141097f + t * 0.561246202175f) + t2 * (-0.523314656308f + t * 0.490571598079f) + t4 * -0.130492815547f);
	return 0.5f * gauss * t * q;
}

// normal_cdf is (1 + erf(x/sqrt 2))/2.
INLINE float normal_cdf(float x, float gauss)
{
	float tail = half_erfc(x, gauss);
	return choose(x < 0.0f, tail, 1.0f - tail);
}

// sin_turns is sin(2 pi g), for |g| < 2^50: error below 1e-11.
INLINE double sin_turns(double g)
{
	g = g - round_even(g);
	double h = round_even(g * 2.0); // half turns: -1, 0 or 1
	double x = (g - 0.5 * h) * 6.28318530717958647692, w = x * x;
	double q = 1.0 / 6227020800.0 - w * (1.0 / 1307674368000.0);
	q = 1.0 / 39916800.0 - w * q;
	q = 1.0 / 362880.0 - w * q;
	q = 1.0 / 5040.0 - w * q;
	q = 1.0 / 120.0 - w * q;
	q = 1.0 / 6.0 - w * q;
	q = 1.0 - w * q;
	return x * q * (1.0 - 2.0 * h * h);
}

// sqrt_f takes the place of the C library's root, whose errno makes a call of every one. (-fno-math-errno would do, but cgo refuses that
// flag.)
INLINE float sqrt_f(float x)
{
#if defined(__x86_64__)
	return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
#else
	return __builtin_sqrtf(x);
#endif
}

// mix is internal/counter.Mix.
INLINE uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
	x = (x ^ x >> 27) * 0x94D049BB133111EBull;
	return x ^ x >> 31;
}
#define GOLDEN 0x9E3779B97F4A7C15ull

// drop_row is where row r of a matrix begins in a dropout's stream.
INLINE uint64_t drop_row(cpu_dropping drop, int64_t r, int64_t cols) { return drop.key + GOLDEN * ((uint64_t)(r * cols) + 1); }

// dropped is x or 0, by number c of the row.
INLINE float dropped(float x, cpu_dropping drop, uint64_t base, int64_t c)
{
	uint32_t draw = (uint32_t)(mix(base + GOLDEN * (uint64_t)c) >> 40);
	float kept = x / drop.keep;
	return choose(draw >= drop.threshold, kept, 0.0f);
}

#endif
