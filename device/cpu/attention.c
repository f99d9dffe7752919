// Causal multi-head attention inside segments, a block of rows at a time: of a segment's scores only that block exists, and of its
// columns only those up to the block's last row.
#include "kernels.h"
#include "softmax.h"

enum { ROWS = 64 };

// view is one head of one segment.
typedef struct {
	const float *q, *k, *v;
	int64_t ld, n, d; // row length of qkv, tokens, width
	float scale;
} view;

INLINE view head_view(cpu_mat qkv, int64_t first, int64_t n, int64_t head, int64_t heads)
{
	int64_t width = qkv.cols / 3, d = width / heads;
	const float *q = row(qkv, first) + head * d;
	view v = {q, q + width, q + 2 * width, qkv.stride, n, d, 1.0f / sqrt_f((float)d)};
	return v;
}

INLINE int64_t longest(const int32_t *offsets, int64_t segments)
{
	int64_t n = 0;
	for (int64_t s = 0; s < segments; s++) n = offsets[s + 1] - offsets[s] > n ? offsets[s + 1] - offsets[s] : n;
	return n;
}

// scores: s[i,j] = scale*<q_i, k_j> for rows lo..hi-1 and columns 0..hi-1.
INLINE int scores(float *s, int64_t ld, const view *v, int64_t lo, int64_t hi)
{
	return cpu_gemm(0, 1, hi - lo, hi, v->d, v->scale, v->q + lo * v->ld, v->ld, v->k, v->ld, 0, s, ld);
}

// lse points at the segment's first token and the head; its elements are heads apart. So does out.
INLINE int attend_rows(float *s, const view *v, int64_t lo, int64_t hi, float *out, int64_t ld_out, float *lse, int64_t heads)
{
	int64_t ld = leading(hi);
	if (scores(s, ld, v, lo, hi)) return CPU_GEMM_FAILED;
	for (int64_t i = lo; i < hi; i++) {
		float *p = s + (i - lo) * ld, sum, m = exp_row(p, i + 1, &sum);
		scale_row(p, 1.0f / sum, i + 1);
		memset(p + i + 1, 0, (size_t)(hi - i - 1) * sizeof(float));
		lse[i * heads] = (float)((double)m + log_d((double)sum));
	}
	return cpu_gemm(0, 0, hi - lo, v->d, hi, 1, s, ld, v->v, v->ld, 0, out + lo * ld_out, ld_out);
}

INLINE int cpu_attention_body(cpu_lane *l, cpu_mat out, cpu_mat qkv, uintptr_t lse, const int32_t *offsets, int64_t segments,
	int64_t heads)
{
	size_t bytes = (size_t)(ROWS * leading(longest(offsets, segments))) * sizeof(float);
	if (cpu_reserve(l, cpu_room(bytes))) return CPU_NO_MEMORY;
	float *s = cpu_take(l, bytes);
	for (int64_t g = 0; g < segments; g++) {
		int64_t first = offsets[g], n = offsets[g + 1] - first;
		for (int64_t h = 0; h < heads; h++) {
			view v = head_view(qkv, first, n, h, heads);
			for (int64_t lo = 0; lo < n; lo += ROWS) {
				int64_t hi = lo + ROWS < n ? lo + ROWS : n;
				if (attend_rows(s, &v, lo, hi, row(out, first) + h * v.d, out.stride, (float *)lse + first * heads + h, heads))
					return CPU_GEMM_FAILED;
			}
		}
	}
	return CPU_OK;
}
KERNEL(cpu_attention, (cpu_lane * l, cpu_mat out, cpu_mat qkv, uintptr_t lse, const int32_t *offsets, int64_t segments,
	int64_t heads), l, out, qkv, lse, offsets, segments, heads)

// grad is the gradients' side of a head of a segment.
typedef struct {
	const float *out, *dout;
	float *dq, *dk, *dv;
	const float *lse;
	int64_t ld_out, ld_dout, ld, heads; // row lengths of out, dout, dqkv; distance of lse's elements
} grad;

// softmax_rows turns scores into probabilities p, and their gradients dp into scale * p * (dp - <dout, out>).
INLINE void softmax_rows(float *p, float *dp, int64_t ld, const view *v, const grad *g, int64_t lo, int64_t hi)
{
	for (int64_t i = lo; i < hi; i++) {
		float *a = p + (i - lo) * ld, *b = dp + (i - lo) * ld, z = g->lse[i * g->heads];
		float mean = row_dot(g->dout + i * g->ld_dout, g->out + i * g->ld_out, v->d);
		ELEMENTWISE
		for (int64_t j = 0; j <= i; j++) {
			a[j] = exp_f(a[j] - z);
			b[j] = v->scale * a[j] * (b[j] - mean);
		}
		memset(a + i + 1, 0, (size_t)(hi - i - 1) * sizeof(float));
		memset(b + i + 1, 0, (size_t)(hi - i - 1) * sizeof(float));
	}
}

// The block of the last rows comes first: it writes dk and dv of the whole segment, the others add.
INLINE int attend_rows_backward(float *p, float *dp, const view *v, const grad *g, int64_t lo, int64_t hi)
{
	int64_t ld = leading(hi), m = hi - lo;
	const float *dout = g->dout + lo * g->ld_dout, *q = v->q + lo * v->ld;
	float add = hi == v->n ? 0 : 1;
	int bad = scores(p, ld, v, lo, hi);
	bad |= cpu_gemm(0, 1, m, hi, v->d, 1, dout, g->ld_dout, v->v, v->ld, 0, dp, ld);
	softmax_rows(p, dp, ld, v, g, lo, hi);
	bad |= cpu_gemm(1, 0, hi, v->d, m, 1, p, ld, dout, g->ld_dout, add, g->dv, g->ld);
	bad |= cpu_gemm(0, 0, m, v->d, hi, 1, dp, ld, v->k, v->ld, 0, g->dq + lo * g->ld, g->ld);
	bad |= cpu_gemm(1, 0, hi, v->d, m, 1, dp, ld, q, v->ld, add, g->dk, g->ld);
	return bad ? CPU_GEMM_FAILED : CPU_OK;
}

INLINE int cpu_attention_backward_body(cpu_lane *l, cpu_mat dqkv, cpu_mat dout, cpu_mat out, cpu_mat qkv, uintptr_t lse,
	const int32_t *offsets, int64_t segments, int64_t heads)
{
	size_t bytes = (size_t)(ROWS * leading(longest(offsets, segments))) * sizeof(float);
	if (cpu_reserve(l, 2 * cpu_room(bytes))) return CPU_NO_MEMORY;
	float *p = cpu_take(l, bytes), *dp = cpu_take(l, bytes);
	int64_t width = qkv.cols / 3, d = width / heads;
	for (int64_t s = 0; s < segments; s++) {
		int64_t first = offsets[s], n = offsets[s + 1] - first;
		for (int64_t h = 0; h < heads; h++) {
			view v = head_view(qkv, first, n, h, heads);
			float *dq = row(dqkv, first) + h * d;
			grad g = {row(out, first) + h * d, row(dout, first) + h * d, dq, dq + width, dq + 2 * width,
				(const float *)lse + first * heads + h, out.stride, dout.stride, dqkv.stride, heads};
			for (int64_t lo = (n - 1) / ROWS * ROWS; lo >= 0 && n > 0; lo -= ROWS)
				if (attend_rows_backward(p, dp, &v, &g, lo, lo + ROWS < n ? lo + ROWS : n)) return CPU_GEMM_FAILED;
		}
	}
	return CPU_OK;
}
KERNEL(cpu_attention_backward, (cpu_lane * l, cpu_mat dqkv, cpu_mat dout, cpu_mat out, cpu_mat qkv, uintptr_t lse,
	const int32_t *offsets, int64_t segments, int64_t heads), l, dqkv, dout, out, qkv, lse, offsets, segments, heads)
