// Linear maps, and what follows them: a block of rows goes through the product and then, while it is in the cache, through everything up to
// the next product.
#include "kernels.h"
#include "norm.h"
#include "reduce.h"
#include "scalar.h"

// BLOCK rows of the widest activations stay in a second-level cache; products of fewer rows are slower.
enum { BLOCK = 96 };

// take_weight moves the weight of a map to scratch memory, unless its rows already lie as products like them or are hardly used. Parameters have
// no gaps between rows.
INLINE int take_weight(cpu_lane *l, cpu_mat *w, int64_t rows, size_t more)
{
	int copy = w->stride != leading(w->stride) && rows >= BLOCK;
	int64_t stride = leading(w->cols);
	size_t bytes = copy ? (size_t)(w->rows * stride) * sizeof(float) : 0;
	if (cpu_reserve(l, cpu_room(bytes) + more)) return CPU_NO_MEMORY;
	if (!copy) return CPU_OK;
	cpu_mat c = {(uintptr_t)cpu_take(l, bytes), w->rows, w->cols, stride};
	for (int64_t r = 0; r < w->rows; r++) memcpy(row(c, r), row(*w, r), (size_t)w->cols * sizeof(float));
	*w = c;
	return CPU_OK;
}

INLINE cpu_mat rows_of(cpu_mat m, int64_t lo, int64_t n)
{
	cpu_mat part = {m.addr ? (uintptr_t)row(m, lo) : 0, n, m.cols, m.stride};
	return part;
}

// product: rows lo..lo+n-1 of y = x*w^T.
INLINE int product(cpu_mat y, cpu_mat x, cpu_mat w, int64_t lo, int64_t n)
{
	return cpu_gemm(0, 1, n, y.cols, x.cols, 1, row(x, lo), x.stride, row(w, 0), w.stride, 0, row(y, lo), y.stride);
}

INLINE int64_t block_rows(int64_t lo, int64_t rows) { return rows - lo < BLOCK ? rows - lo : BLOCK; }

INLINE int cpu_linear_body(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_mat w, uintptr_t bias)
{
	const float *b = (const float *)bias;
	if (take_weight(l, &w, y.rows, 0)) return CPU_NO_MEMORY;
	for (int64_t lo = 0, n; lo < y.rows; lo += n) {
		n = block_rows(lo, y.rows);
		if (product(y, x, w, lo, n)) return CPU_GEMM_FAILED;
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
	if (take_weight(l, &w, y.rows, cpu_room(bytes))) return CPU_NO_MEMORY;
	float *unwanted = cpu_take(l, bytes);
	for (int64_t lo = 0, n; lo < y.rows; lo += n) {
		n = block_rows(lo, y.rows);
		if (product(y, x, w, lo, n)) return CPU_GEMM_FAILED;
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
	if (take_weight(l, &w, y.rows, 0)) return CPU_NO_MEMORY;
	for (int64_t lo = 0, n; lo < y.rows; lo += n) {
		n = block_rows(lo, y.rows);
		if (product(y, x, w, lo, n)) return CPU_GEMM_FAILED;
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
	if (dbias) column_sums((float *)dbias, dy);
	if (dw.addr && cpu_matmul(l, dw, 1, dy, 1, x, 0, 1)) return CPU_GEMM_FAILED;
	if (!dx.addr) return CPU_OK;
	if (take_weight(l, &w, dx.rows, 0)) return CPU_NO_MEMORY;
	for (int64_t lo = 0, n; lo < dx.rows; lo += n) {
		n = block_rows(lo, dx.rows);
		if (cpu_matmul(l, rows_of(dx, lo, n), 1, rows_of(dy, lo, n), 0, w, 0, 0)) return CPU_GEMM_FAILED;
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
