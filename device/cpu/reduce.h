// Sums and maxima of a row. The order of every sum is written down: 4 vectors of 8 lanes, then a fixed tree. Compilers lower the
// vectors to whatever registers there are, with the same result.
#ifndef CPU_REDUCE_H
#define CPU_REDUCE_H

#include "kernels.h"

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4), may_alias));
typedef double v4d __attribute__((vector_size(32)));
typedef float v4u __attribute__((vector_size(16), aligned(4), may_alias));

INLINE v8 load8(const float *p) { return (v8)*(const v8u *)p; }
INLINE v4d load4d(const float *p) { return __builtin_convertvector(*(const v4u *)p, v4d); }

INLINE float lanes_sum(v8 s) { return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])); }

INLINE v8 max8(v8 a, v8 b)
{
	v8i keep = a > b;
	return (v8)(((v8i)a & keep) | ((v8i)b & ~keep));
}

// row_dot is the sum of a[i]*b[i].
INLINE float row_dot(const float *a, const float *b, int64_t n)
{
	v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		s0 += load8(a + i) * load8(b + i);
		s1 += load8(a + i + 8) * load8(b + i + 8);
		s2 += load8(a + i + 16) * load8(b + i + 16);
		s3 += load8(a + i + 24) * load8(b + i + 24);
	}
	for (; i + 8 <= n; i += 8) s0 += load8(a + i) * load8(b + i);
	float rest = 0;
	for (; i < n; i++) rest += a[i] * b[i];
	return lanes_sum((s0 + s1) + (s2 + s3)) + rest;
}

// row_sum is the sum of a[i].
INLINE float row_sum(const float *a, int64_t n)
{
	v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		s0 += load8(a + i);
		s1 += load8(a + i + 8);
		s2 += load8(a + i + 16);
		s3 += load8(a + i + 24);
	}
	for (; i + 8 <= n; i += 8) s0 += load8(a + i);
	float rest = 0;
	for (; i < n; i++) rest += a[i];
	return lanes_sum((s0 + s1) + (s2 + s3)) + rest;
}

// row_squares is the sum of (a[i]-c)^2.
INLINE float row_squares(const float *a, float c, int64_t n)
{
	v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	int64_t i = 0;
	for (; i + 32 <= n; i += 32) {
		v8 d0 = load8(a + i) - c, d1 = load8(a + i + 8) - c, d2 = load8(a + i + 16) - c, d3 = load8(a + i + 24) - c;
		s0 += d0 * d0;
		s1 += d1 * d1;
		s2 += d2 * d2;
		s3 += d3 * d3;
	}
	for (; i + 8 <= n; i += 8) {
		v8 d = load8(a + i) - c;
		s0 += d * d;
	}
	float rest = 0;
	for (; i < n; i++) rest += (a[i] - c) * (a[i] - c);
	return lanes_sum((s0 + s1) + (s2 + s3)) + rest;
}

// row_max is the largest a[i], at least -FLT_MAX; NaN are passed over.
INLINE float row_max(const float *a, int64_t n)
{
	const float least = -3.402823466e38f;
	v8 m0 = {least, least, least, least, least, least, least, least}, m1 = m0;
	int64_t i = 0;
	for (; i + 16 <= n; i += 16) {
		m0 = max8(load8(a + i), m0);
		m1 = max8(load8(a + i + 8), m1);
	}
	m0 = max8(m0, m1);
	float m = least;
	for (int j = 0; j < 8; j++) m = m0[j] > m ? m0[j] : m;
	for (; i < n; i++) m = a[i] > m ? a[i] : m;
	return m;
}

// row_sum_d is the sum of a[i] in float64.
INLINE double row_sum_d(const float *a, int64_t n)
{
	v4d s0 = {0}, s1 = {0};
	int64_t i = 0;
	for (; i + 8 <= n; i += 8) {
		s0 += load4d(a + i);
		s1 += load4d(a + i + 4);
	}
	double rest = 0;
	for (; i < n; i++) rest += (double)a[i];
	s0 += s1;
	return ((s0[0] + s0[2]) + (s0[1] + s0[3])) + rest;
}

// row_dot_d is the sum of a[i]*b[i] in float64.
INLINE double row_dot_d(const float *a, const float *b, int64_t n)
{
	v4d s0 = {0}, s1 = {0};
	int64_t i = 0;
	for (; i + 8 <= n; i += 8) {
		s0 += load4d(a + i) * load4d(b + i);
		s1 += load4d(a + i + 4) * load4d(b + i + 4);
	}
	double rest = 0;
	for (; i < n; i++) rest += (double)a[i] * (double)b[i];
	s0 += s1;
	return ((s0[0] + s0[2]) + (s0[1] + s0[3])) + rest;
}

// column_sums: dst[c] += the sum over rows of m, in order of rows, 64 columns at a time so that they stay in registers.
INLINE void column_sums(float *dst, cpu_mat m)
{
	int64_t c = 0;
	for (; c + 64 <= m.cols; c += 64) {
		v8 s[8] = {{0}};
		for (int64_t r = 0; r < m.rows; r++) {
			const float *p = row(m, r) + c;
			for (int j = 0; j < 8; j++) s[j] += load8(p + 8 * j);
		}
		for (int j = 0; j < 64; j++) dst[c + j] += s[j / 8][j % 8];
	}
	for (; c + 8 <= m.cols; c += 8) {
		v8 s = {0};
		for (int64_t r = 0; r < m.rows; r++) s += load8(row(m, r) + c);
		for (int j = 0; j < 8; j++) dst[c + j] += s[j];
	}
	for (; c < m.cols; c++) {
		float s = 0;
		for (int64_t r = 0; r < m.rows; r++) s += row(m, r)[c];
		dst[c] += s;
	}
}

#endif
