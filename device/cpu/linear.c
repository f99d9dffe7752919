// Linear maps, and what follows them: a block of rows goes through the product and then, while it is in the cache, through everything up to
// the next product.
#include "kernels.h"
#include "norm.h"
#include "reduce.h"
#include "scalar.h"

// BLOCK rows are enough for products to be fast (fewer pack the weight more often), and few enough to be in the third-level cache when what follows
// reads them.
enum { BLOCK = 512 };

// weight is the weight of a map. Parameters have no gaps between rows, which clash in caches: they are moved if there are rows enough to pay for it.
INLINE cpu_operand weight(cpu_lane *l, cpu_mat w, int64_t rows) { return cpu_read(l, CPU_SLOT_A, w, rows >= 64); }

INLINE cpu_mat rows_of(cpu_mat m, int64_t lo, int64_t n)
{
	cpu_mat part = {(uintptr_t)row(m, lo), n, m.cols, m.stride};
	return part;
}

// product: rows lo..lo+n-1 of y = x*w^T.
INLINE int product(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_operand w, int64_t lo, int64_t n)
{
	return cpu_gemm(l, 0, 1, n, y.cols, x.cols, 1, cpu_read(l, CPU_SLOT_B, rows_of(x, lo, n), 0), w, 0, row(y, lo), y.stride);
}

INLINE int64_t block_rows(int64_t lo, int64_t rows) { return rows - lo < BLOCK ? rows - lo : BLOCK; }

INLINE int cpu_linear_body(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_mat w, uintptr_t bias)
{
	const float *b = (const float *)bias;
	cpu_operand weights = weight(l, w, y.rows);
	int status;
	for (int64_t lo = 0, n; lo < y.rows; lo += n) {
		n = block_rows(lo, y.rows);
		if ((status = product(l, y, x, weights, lo, n))) return status;
		for (int64_t r = lo; b && r < lo + n; r++) {
			float *d = row(y, r);
			ELEMENTWISE
			for (int64_t c = 0; c < y.cols; c++) d[c] += b[c];
		}
	}
	return CPU_OK;
}
KERNEL(cpu_linear, (cpu_lane * l, cpu_mat y, cpu_mat x, cpu_mat w, uintptr_t bias), l, y, x, w, bias)

// gelu_row: d = GELU(d + b), and its derivative, for which the exponential is there already.
INLINE void gelu_row(float *d, float *slope, const float *b, int64_t n)
{
	ELEMENTWISE
	for (int64_t c = 0; c < n; c++) {
		float v = d[c] + b[c], gauss = exp_f(-0.5f * v * v), cdf = normal_cdf(v, gauss);
		d[c] = v * cdf;
		slope[c] = cdf + v * (0.398942280f * gauss);
	}
}

INLINE int cpu_linear_gelu_body(cpu_lane *l, cpu_mat y, cpu_mat slope, cpu_mat x, cpu_mat w, uintptr_t bias, cpu_dropping drop)
{
	size_t bytes = (size_t)y.cols * sizeof(float);
	if (cpu_reserve(l, cpu_room(bytes))) return CPU_NO_MEMORY;
	cpu_operand weights = weight(l, w, y.rows);
	float *unwanted = cpu_take(l, bytes);
	int status;
	for (int64_t lo = 0, n; lo < y.rows; lo += n) {
		n = block_rows(lo, y.rows);
		if ((status = product(l, y, x, weights, lo, n))) return status;
		for (int64_t r = lo; r < lo + n; r++) {
			float *d = row(y, r), *s = slope.addr ? row(slope, r) : unwanted;
			gelu_row(d, s, (const float *)bias, y.cols);
			if (!drop.threshold) continue;
			uint64_t base = drop_row(drop, r, y.cols);
			ELEMENTWISE
			for (int64_t c = 0; c < y.cols; c++) {
				d[c] = dropped(d[c], drop, base, c);
				s[c] = dropped(s[c], drop, base, c);
			}
		}
	}
	return CPU_OK;
}
KERNEL(cpu_linear_gelu, (cpu_lane * l, cpu_mat y, cpu_mat slope, cpu_mat x, cpu_mat w, uintptr_t bias, cpu_dropping drop), l, y, slope, x,
	w, bias, drop)

// residual_row: d = residual + drop(d + b).
INLINE void residual_row(float *d, const float *residual, const float *b, int64_t n, cpu_dropping drop, uint64_t base)
{
	if (drop.threshold) {
		ELEMENTWISE
		for (int64_t c = 0; c < n; c++) d[c] = residual[c] + dropped(d[c] + b[c], drop, base, c);
	} else {
		ELEMENTWISE
		for (int64_t c = 0; c < n; c++) d[c] = residual[c] + (d[c] + b[c]);
	}
}

INLINE int cpu_linear_add_body(cpu_lane *l, cpu_mat y, cpu_mat residual, cpu_mat x, cpu_mat w, uintptr_t bias, cpu_dropping drop,
	cpu_norm norm)
{
	cpu_operand weights = weight(l, w, y.rows);
	int status;
	for (int64_t lo = 0, n; lo < y.rows; lo += n) {
		n = block_rows(lo, y.rows);
		if ((status = product(l, y, x, weights, lo, n))) return status;
		for (int64_t r = lo; r < lo + n; r++) {
			residual_row(row(y, r), row(residual, r), (const float *)bias, y.cols, drop, drop_row(drop, r, y.cols));
			if (norm.y.addr) norm_row(norm, r, row(y, r), y.cols);
		}
	}
	return CPU_OK;
}
KERNEL(cpu_linear_add, (cpu_lane * l, cpu_mat y, cpu_mat residual, cpu_mat x, cpu_mat w, uintptr_t bias, cpu_dropping drop, cpu_norm norm),
	l, y, residual, x, w, bias, drop, norm)

INLINE int cpu_linear_backward_body(cpu_lane *l, cpu_mat dx, cpu_mat dw, uintptr_t dbias, cpu_mat dy, cpu_mat x, cpu_mat w, cpu_mat slope)
{
	int status;
	cpu_operand from = cpu_read(l, CPU_SLOT_B, dy, 0);
	if (dbias) column_sums((float *)dbias, dy);
	if (dw.addr) {
		cpu_operand by = cpu_read(l, CPU_SLOT_C, x, 0);
		if ((status = cpu_gemm(l, 1, 0, dw.rows, dw.cols, dy.rows, 1, from, by, 1, row(dw, 0), dw.stride))) return status;
	}
	if (!dx.addr) return CPU_OK;
	cpu_operand weights = weight(l, w, dx.rows);
	for (int64_t lo = 0, n; lo < dx.rows; lo += n) {
		n = block_rows(lo, dx.rows);
		if ((status = cpu_gemm(l, 0, 0, n, dx.cols, dy.cols, 1, cpu_part(l, from, lo, 0), weights, 0, row(dx, lo), dx.stride))) return status;
		for (int64_t r = lo; slope.addr && r < lo + n; r++) {
			float *d = row(dx, r), *s = row(slope, r);
			ELEMENTWISE
			for (int64_t c = 0; c < dx.cols; c++) d[c] *= s[c];
		}
	}
	return CPU_OK;
}
KERNEL(cpu_linear_backward, (cpu_lane * l, cpu_mat dx, cpu_mat dw, uintptr_t dbias, cpu_mat dy, cpu_mat x, cpu_mat w, cpu_mat slope), l, dx,
	dw, dbias, dy, x, w, slope)
