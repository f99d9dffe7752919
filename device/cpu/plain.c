//go:build lean

// Products without a library. Every element's sum runs in blocks of DEPTH in the order of k, whatever the instruction set: no bit depends on it. oneDNN is
// faster; this is for machines that have none, where a GPU does the work.
#include "kernels.h"

// A tile's sums stay in registers: 12 of AVX2's 16.
enum { ROWS = 6, WIDE = 8, COLS = 2 * WIDE, TALL = 16 * ROWS, DEPTH = 256 };

typedef float vec __attribute__((vector_size(WIDE * sizeof(float)), aligned(sizeof(float)), may_alias));

// pack writes panels of `wide` lines: to[p*wide + i] is element p of line i, and 0 where there is no such line.
INLINE void pack(float *to, int wide, const float *from, int64_t lines, int64_t depth, int64_t line, int64_t next)
{
	for (int64_t first = 0; first < lines; first += wide, to += wide * depth)
		for (int i = 0; i < wide; i++)
			for (int64_t p = 0; p < depth; p++) to[p * wide + i] = first + i < lines ? from[(first + i) * line + p * next] : 0;
}

// tile: c = alpha*a*b + beta*c for ROWS x COLS elements, of which rows x cols are there.
INLINE void tile(const float *a, const float *b, int64_t depth, float alpha, float beta, float *c, int64_t ldc, int64_t rows, int64_t cols)
{
	vec sum[ROWS][2] = {0};
	for (int64_t p = 0; p < depth; p++) {
		const vec *x = (const vec *)(b + p * COLS);
#pragma GCC unroll 6
		for (int i = 0; i < ROWS; i++) {
			sum[i][0] += a[p * ROWS + i] * x[0];
			sum[i][1] += a[p * ROWS + i] * x[1];
		}
	}
	for (int64_t i = 0; i < rows && i < ROWS; i++)
		for (int64_t j = 0; j < cols && j < COLS; j++) {
			float y = alpha * sum[i][j / WIDE][j % WIDE];
			c[i * ldc + j] = beta == 0 ? y : y + beta * c[i * ldc + j];
		}
}

INLINE int cpu_sgemm_body(cpu_lane *l, int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b,
	int64_t ldb, float beta, float *c, int64_t ldc)
{
	(void)l;
	float left[TALL * DEPTH], right[COLS * DEPTH];
	int64_t aline = ta ? 1 : lda, anext = ta ? lda : 1, bline = tb ? ldb : 1, bnext = tb ? 1 : ldb;
	for (int64_t p = 0; p < k; p += DEPTH) {
		int64_t depth = k - p < DEPTH ? k - p : DEPTH;
		for (int64_t i = 0; i < m; i += TALL) {
			int64_t tall = m - i < TALL ? m - i : TALL;
			pack(left, ROWS, a + i * aline + p * anext, tall, depth, aline, anext);
			for (int64_t j = 0; j < n; j += COLS) {
				pack(right, COLS, b + j * bline + p * bnext, n - j < COLS ? n - j : COLS, depth, bline, bnext);
				for (int64_t r = 0; r < tall; r += ROWS)
					tile(left + r * depth, right, depth, alpha, p ? 1 : beta, c + (i + r) * ldc + j, ldc, tall - r, n - j);
			}
		}
	}
	return CPU_OK;
}
KERNEL(cpu_sgemm, (cpu_lane * l, int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
	float beta, float *c, int64_t ldc), l, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)

int cpu_product(cpu_lane *l, const cpu_shape *w, void *a, void *b, float *c)
{
	if (w->half) return CPU_GEMM_FAILED; // no lane asks for it, as cpu_has_bfloat16 says
	return cpu_sgemm(l, w->ta, w->tb, w->m, w->n, w->k, 1, a, w->lda, b, w->ldb, w->add, c, w->ldc);
}

void cpu_close_primitives(struct cpu_primitives *p) { (void)p; }

int cpu_has_bfloat16(void) { return 0; }
