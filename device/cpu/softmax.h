// The part of a softmax that attention and the loss share.
#ifndef CPU_SOFTMAX_H
#define CPU_SOFTMAX_H

#include "reduce.h"
#include "scalar.h"

// exp_row replaces s by exp(s - max) and returns the maximum, which is at least -FLT_MAX, so that a row of -inf becomes one of zeros.
// sum receives the sum. A NaN in s makes sum NaN.
INLINE float exp_row(float *s, int64_t n, float *sum)
{
	float m = row_max(s, n);
	ELEMENTWISE
	for (int64_t i = 0; i < n; i++) s[i] = exp_f(s[i] - m);
	*sum = row_sum(s, n);
	return m;
}

#endif
