// Normalisation of rows.
#include "kernels.h"
#include "norm.h"

INLINE int cpu_layer_norm_body(cpu_lane *l, cpu_mat x, cpu_norm to)
{
	(void)l;
	for (int64_t r = 0; r < x.rows; r++) norm_row(to, r, row(x, r), x.cols);
	return CPU_OK;
}
KERNEL(cpu_layer_norm, (cpu_lane * l, cpu_mat x, cpu_norm to), l, x, to)

// With h = (x-mean)*rstd and g = dy*gamma: dx += rstd*(g - mean(g) - h*mean(g*h)); dgamma += sum dy*h; dbeta += sum dy.
INLINE int cpu_layer_norm_backward_body(cpu_lane *l, cpu_mat dx, uintptr_t dgamma, uintptr_t dbeta, cpu_mat dy, cpu_mat x,
	uintptr_t gamma, uintptr_t mean, uintptr_t rstd)
{
	int64_t n = x.cols;
	size_t bytes = (size_t)n * sizeof(float);
	if (cpu_reserve(l, 4 * cpu_room(bytes))) return CPU_NO_MEMORY;
	float *h = cpu_take(l, bytes), *g = cpu_take(l, bytes), *sg = cpu_take(l, bytes), *sb = cpu_take(l, bytes);
	memset(sg, 0, bytes);
	memset(sb, 0, bytes);
	const float *scale = (const float *)gamma;
	for (int64_t r = 0; r < x.rows; r++) {
		float *d = row(dx, r), *e = row(dy, r), *p = row(x, r);
		float m = ((const float *)mean)[r], s = ((const float *)rstd)[r];
		ELEMENTWISE
		for (int64_t c = 0; c < n; c++) {
			h[c] = (p[c] - m) * s;
			g[c] = e[c] * scale[c];
			sg[c] += e[c] * h[c];
			sb[c] += e[c];
		}
		float mg = row_sum(g, n) / (float)n, mgh = row_dot(g, h, n) / (float)n;
		ELEMENTWISE
		for (int64_t c = 0; c < n; c++) d[c] += s * (g[c] - mg - h[c] * mgh);
	}
	float *tg = (float *)dgamma, *tb = (float *)dbeta;
	ELEMENTWISE
	for (int64_t c = 0; c < n; c++) tg[c] += sg[c], tb[c] += sb[c];
	return CPU_OK;
}
KERNEL(cpu_layer_norm_backward, (cpu_lane * l, cpu_mat dx, uintptr_t dgamma, uintptr_t dbeta, cpu_mat dy, cpu_mat x, uintptr_t gamma,
	uintptr_t mean, uintptr_t rstd), l, dx, dgamma, dbeta, dy, x, gamma, mean, rstd)

INLINE int cpu_l2_norm_body(cpu_lane *l, cpu_mat y, uintptr_t norm, cpu_mat x)
{
	(void)l;
	for (int64_t r = 0; r < x.rows; r++) {
		float *d = row(y, r), *p = row(x, r);
		float s = sqrt_f(row_dot(p, p, x.cols));
		s = s < 1e-12f ? 1e-12f : s; // a NaN stays one
		((float *)norm)[r] = s;
		ELEMENTWISE
		for (int64_t c = 0; c < x.cols; c++) d[c] = p[c] / s;
	}
	return CPU_OK;
}
KERNEL(cpu_l2_norm, (cpu_lane * l, cpu_mat y, uintptr_t norm, cpu_mat x), l, y, norm, x)

INLINE int cpu_l2_norm_backward_body(cpu_lane *l, cpu_mat dx, cpu_mat dy, cpu_mat y, uintptr_t norm)
{
	(void)l;
	for (int64_t r = 0; r < y.rows; r++) {
		float *d = row(dx, r), *e = row(dy, r), *u = row(y, r);
		float s = ((const float *)norm)[r], along = row_dot(e, u, y.cols);
		ELEMENTWISE
		for (int64_t c = 0; c < y.cols; c++) d[c] = (e[c] - along * u[c]) / s;
	}
	return CPU_OK;
}
KERNEL(cpu_l2_norm_backward, (cpu_lane * l, cpu_mat dx, cpu_mat dy, cpu_mat y, uintptr_t norm), l, dx, dy, y, norm)
