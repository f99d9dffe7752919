// Causal multi-head attention inside segments, a block of rows at a time: of a segment's scores only that block exists, and of its
// columns only those up to the block's last row.
#include "kernels.h"
#include "softmax.h"

enum { ROWS = 64 };

// view is one head of one segment.
typedef struct {
	cpu_lane *l;
	cpu_operand q, k, v;
	int64_t n, d; // tokens, width
	float scale;
} view;

// head_view: all is the whole qkv as an operand.
INLINE view head_view(cpu_lane *l, cpu_operand all, cpu_mat qkv, int64_t first, int64_t n, int64_t head, int64_t heads)
{
	int64_t width = qkv.cols / 3, d = width / heads, at = head * d;
	view v = {l, cpu_part(l, all, first, at), cpu_part(l, all, first, width + at), cpu_part(l, all, first, 2 * width + at), n, d,
		1.0f / sqrt_f((float)d)};
	return v;
}

// block is rows x cols of scratch memory as an operand.
INLINE cpu_operand block(cpu_lane *l, int slot, const float *s, int64_t ld, int64_t rows, int64_t cols)
{
	cpu_mat m = {(uintptr_t)s, rows, cols, ld};
	return cpu_read(l, slot, m, 0);
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
	return cpu_gemm(v->l, 0, 1, hi - lo, hi, v->d, v->scale, cpu_part(v->l, v->q, lo, 0), v->k, 0, s, ld);
}

// lse points at the segment's first token and the head; its elements are heads apart. So does out.
INLINE int attend_rows(float *s, const view *v, int64_t lo, int64_t hi, float *out, int64_t ld_out, float *lse, int64_t heads)
{
	int64_t ld = leading(hi);
	int status = scores(s, ld, v, lo, hi);
	if (status) return status;
	float inverse[ROWS]; // rows are divided by their sums behind the product, where they are shorter
	for (int64_t i = lo; i < hi; i++) {
		float *p = s + (i - lo) * ld, sum, m = exp_row(p, i + 1, &sum);
		inverse[i - lo] = 1.0f / sum;
		memset(p + i + 1, 0, (size_t)(hi - i - 1) * sizeof(float));
		lse[i * heads] = (float)((double)m + log_d((double)sum));
	}
	cpu_operand p = block(v->l, CPU_SLOT_B, s, ld, hi - lo, hi);
	if ((status = cpu_gemm(v->l, 0, 0, hi - lo, v->d, hi, 1, p, v->v, 0, out + lo * ld_out, ld_out))) return status;
	for (int64_t i = lo; i < hi; i++) {
		float *o = out + i * ld_out, f = inverse[i - lo];
		ELEMENTWISE
		for (int64_t c = 0; c < v->d; c++) o[c] *= f;
	}
	return CPU_OK;
}

INLINE int cpu_attention_body(cpu_lane *l, cpu_mat out, cpu_mat qkv, uintptr_t lse, const int32_t *offsets, int64_t segments,
	int64_t heads)
{
	size_t bytes = (size_t)(ROWS * leading(longest(offsets, segments))) * sizeof(float);
	if (cpu_reserve(l, cpu_room(bytes))) return CPU_NO_MEMORY;
	float *s = cpu_take(l, bytes);
	cpu_operand all = cpu_read(l, CPU_SLOT_A, qkv, 0);
	for (int64_t g = 0; g < segments; g++) {
		int64_t first = offsets[g], n = offsets[g + 1] - first;
		for (int64_t h = 0; h < heads; h++) {
			view v = head_view(l, all, qkv, first, n, h, heads);
			for (int64_t lo = 0; lo < n; lo += ROWS) {
				int64_t hi = lo + ROWS < n ? lo + ROWS : n;
				int status = attend_rows(s, &v, lo, hi, row(out, first) + h * v.d, out.stride, (float *)lse + first * heads + h, heads);
				if (status) return status;
			}
		}
	}
	return CPU_OK;
}
KERNEL(cpu_attention, (cpu_lane * l, cpu_mat out, cpu_mat qkv, uintptr_t lse, const int32_t *offsets, int64_t segments,
	int64_t heads), l, out, qkv, lse, offsets, segments, heads)

// grad is the gradients' side of a head of a segment.
typedef struct {
	cpu_operand read; // of dout
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
	cpu_lane *l = v->l;
	int64_t ld = leading(hi), m = hi - lo;
	cpu_operand dout = cpu_part(l, g->read, lo, 0);
	float add = hi == v->n ? 0 : 1;
	int bad = scores(p, ld, v, lo, hi);
	bad |= cpu_gemm(l, 0, 1, m, hi, v->d, 1, dout, v->v, 0, dp, ld);
	softmax_rows(p, dp, ld, v, g, lo, hi);
	cpu_operand ps = block(l, CPU_SLOT_C, p, ld, m, hi), dps = block(l, CPU_SLOT_D, dp, ld, m, hi);
	bad |= cpu_gemm(l, 1, 0, hi, v->d, m, 1, ps, dout, add, g->dv, g->ld);
	bad |= cpu_gemm(l, 0, 0, m, v->d, hi, 1, dps, v->k, 0, g->dq + lo * g->ld, g->ld);
	bad |= cpu_gemm(l, 1, 0, hi, v->d, m, 1, dps, cpu_part(l, v->q, lo, 0), add, g->dk, g->ld);
	return bad ? CPU_GEMM_FAILED : CPU_OK;
}

INLINE int cpu_attention_backward_body(cpu_lane *l, cpu_mat dqkv, cpu_mat dout, cpu_mat out, cpu_mat qkv, uintptr_t lse,
	const int32_t *offsets, int64_t segments, int64_t heads)
{
	size_t bytes = (size_t)(ROWS * leading(longest(offsets, segments))) * sizeof(float);
	if (cpu_reserve(l, 2 * cpu_room(bytes))) return CPU_NO_MEMORY;
	float *p = cpu_take(l, bytes), *dp = cpu_take(l, bytes);
	int64_t width = qkv.cols / 3, d = width / heads;
	cpu_operand all = cpu_read(l, CPU_SLOT_A, qkv, 0), read = cpu_read(l, CPU_SLOT_B, dout, 0);
	for (int64_t s = 0; s < segments; s++) {
		int64_t first = offsets[s], n = offsets[s + 1] - first;
		for (int64_t h = 0; h < heads; h++) {
			view v = head_view(l, all, qkv, first, n, h, heads);
			float *dq = row(dqkv, first) + h * d;
			grad g = {cpu_part(l, read, first, h * d), row(out, first) + h * d, row(dout, first) + h * d, dq, dq + width, dq + 2 * width,
				(const float *)lse + first * heads + h, out.stride, dout.stride, dqkv.stride, heads};
			for (int64_t lo = (n - 1) / ROWS * ROWS; lo >= 0 && n > 0; lo -= ROWS)
				if (attend_rows_backward(p, dp, &v, &g, lo, lo + ROWS < n ? lo + ROWS : n)) return CPU_GEMM_FAILED;
		}
	}
	return CPU_OK;
}
KERNEL(cpu_attention_backward, (cpu_lane * l, cpu_mat dqkv, cpu_mat dout, cpu_mat out, cpu_mat qkv, uintptr_t lse,
	const int32_t *offsets, int64_t segments, int64_t heads), l, dqkv, dout, out, qkv, lse, offsets, segments, heads)
