// Operators on plain matrices.
#include "kernels.h"
#include "reduce.h"
#include "scalar.h"

int cpu_matmul(cpu_lane *l, cpu_mat dst, float alpha, cpu_mat a, int ta, cpu_mat b, int tb, float beta)
{
	(void)l;
	int64_t k = ta ? a.rows : a.cols;
	return cpu_gemm(ta, tb, dst.rows, dst.cols, k, alpha, row(a, 0), a.stride, row(b, 0), b.stride, beta, row(dst, 0), dst.stride);
}

int cpu_linear(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_mat w, uintptr_t bias)
{
	// The product adds to the bias: cheaper than a pass over y afterwards.
	if (bias)
		for (int64_t r = 0; r < y.rows; r++) memcpy(row(y, r), (const float *)bias, (size_t)y.cols * sizeof(float));
	return cpu_matmul(l, y, 1, x, 0, w, 1, bias ? 1 : 0);
}

INLINE int cpu_linear_backward_body(cpu_lane *l, cpu_mat dx, cpu_mat dw, uintptr_t dbias, cpu_mat dy, cpu_mat x, cpu_mat w)
{
	int status = CPU_OK;
	if (dbias) column_sums((float *)dbias, dy);
	if (dw.addr) status = cpu_matmul(l, dw, 1, dy, 1, x, 0, 1);
	if (dx.addr && status == CPU_OK) status = cpu_matmul(l, dx, 1, dy, 0, w, 0, 0);
	return status;
}
KERNEL(cpu_linear_backward, (cpu_lane * l, cpu_mat dx, cpu_mat dw, uintptr_t dbias, cpu_mat dy, cpu_mat x, cpu_mat w), l, dx, dw,
	dbias, dy, x, w)

INLINE int cpu_add_body(cpu_lane *l, cpu_mat dst, cpu_mat a, cpu_mat b)
{
	(void)l;
	if (dense(dst) && dense(a) && dense(b)) dst = flat(dst), a = flat(a), b = flat(b);
	for (int64_t r = 0; r < dst.rows; r++) {
		float *d = row(dst, r), *p = row(a, r), *q = row(b, r);
		ELEMENTWISE
		for (int64_t c = 0; c < dst.cols; c++) d[c] = p[c] + q[c];
	}
	return CPU_OK;
}
KERNEL(cpu_add, (cpu_lane * l, cpu_mat dst, cpu_mat a, cpu_mat b), l, dst, a, b)

INLINE int cpu_gelu_body(cpu_lane *l, cpu_mat y, cpu_mat x)
{
	(void)l;
	if (dense(y) && dense(x)) y = flat(y), x = flat(x);
	for (int64_t r = 0; r < y.rows; r++) {
		float *d = row(y, r), *p = row(x, r);
		ELEMENTWISE
		for (int64_t c = 0; c < y.cols; c++) {
			float v = p[c];
			d[c] = v * normal_cdf(v, exp_f(-0.5f * v * v));
		}
	}
	return CPU_OK;
}
KERNEL(cpu_gelu, (cpu_lane * l, cpu_mat y, cpu_mat x), l, y, x)

INLINE int cpu_gelu_backward_body(cpu_lane *l, cpu_mat dx, cpu_mat dy, cpu_mat x)
{
	(void)l;
	if (dense(dx) && dense(dy) && dense(x)) dx = flat(dx), dy = flat(dy), x = flat(x);
	for (int64_t r = 0; r < dx.rows; r++) {
		float *d = row(dx, r), *g = row(dy, r), *p = row(x, r);
		ELEMENTWISE
		for (int64_t c = 0; c < dx.cols; c++) {
			float v = p[c], gauss = exp_f(-0.5f * v * v);
			d[c] = g[c] * (normal_cdf(v, gauss) + v * (0.398942280f * gauss));
		}
	}
	return CPU_OK;
}
KERNEL(cpu_gelu_backward, (cpu_lane * l, cpu_mat dx, cpu_mat dy, cpu_mat x), l, dx, dy, x)

INLINE int cpu_dropout_body(cpu_lane *l, cpu_mat y, cpu_mat x, uint64_t key, uint32_t threshold, float keep)
{
	(void)l;
	if (dense(y) && dense(x)) y = flat(y), x = flat(x);
	for (int64_t r = 0; r < y.rows; r++) {
		float *d = row(y, r), *p = row(x, r);
		uint64_t base = key + GOLDEN * ((uint64_t)(r * y.cols) + 1);
		ELEMENTWISE
		for (int64_t c = 0; c < y.cols; c++) {
			uint32_t draw = (uint32_t)(mix(base + GOLDEN * (uint64_t)c) >> 40);
			float kept = p[c] / keep;
			d[c] = choose(draw >= threshold, kept, 0.0f);
		}
	}
	return CPU_OK;
}
KERNEL(cpu_dropout, (cpu_lane * l, cpu_mat y, cpu_mat x, uint64_t key, uint32_t threshold, float keep), l, y, x, key, threshold, keep)
