// Layer normalisation of one row, which linear.c does while the row is in the cache.
#ifndef CPU_NORM_H
#define CPU_NORM_H

#include "reduce.h"
#include "scalar.h"

// norm_row normalises p, row r of a matrix of n columns.
INLINE void norm_row(cpu_norm to, int64_t r, const float *p, int64_t n)
{
	const float *scale = (const float *)to.gamma, *shift = (const float *)to.beta;
	float *d = row(to.y, r), m = row_sum(p, n) / (float)n;
	float s = 1.0f / sqrt_f(row_squares(p, m, n) / (float)n + 1e-5f);
	((float *)to.mean)[r] = m;
	((float *)to.rstd)[r] = s;
	ELEMENTWISE
	for (int64_t c = 0; c < n; c++) d[c] = (p[c] - m) * s * scale[c] + shift[c];
}

#endif
