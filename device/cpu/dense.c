// Operators on plain matrices.
#include "kernels.h"
#include "scalar.h"

int cpu_matmul(cpu_lane *l, cpu_mat dst, float alpha, cpu_mat a, int ta, cpu_mat b, int tb, float beta)
{
	cpu_operand x = cpu_read(l, CPU_SLOT_A, a, 0), y = cpu_read(l, CPU_SLOT_B, b, 0);
	return cpu_gemm(l, ta, tb, dst.rows, dst.cols, ta ? a.rows : a.cols, alpha, x, y, beta, row(dst, 0), dst.stride);
}

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

INLINE int cpu_dropout_body(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_dropping drop)
{
	(void)l;
	for (int64_t r = 0; r < y.rows; r++) {
		float *d = row(y, r), *p = row(x, r);
		uint64_t base = drop_row(drop, r, y.cols);
		ELEMENTWISE
		for (int64_t c = 0; c < y.cols; c++) d[c] = dropped(p[c], drop, base, c);
	}
	return CPU_OK;
}
KERNEL(cpu_dropout, (cpu_lane * l, cpu_mat y, cpu_mat x, cpu_dropping drop), l, y, x, drop)
