// The exact dense all-action loss. The negative part of a token's partition function is the same for all of its positives, so one
// softmax over the pool and one banded product per token do: for tokens m with positives lo_m <= j < hi_m
//
//   z_m  = log sum_n exp(beta<u_m,w_n> + bias_n)      over the pool items that are not masked for the token's segment
//   loss = sum_m weight_m sum_j softplus(z_m - a_mj)  with a_mj = beta<u_m,v_j> + posbias_j
//
// Tokens without positives are left out first. The rest goes in blocks of ROWS tokens, whatever their segments: the scores of a block
// with the whole pool are kept from the forward to the backward part, as exp(s - max). That is O(pool) memory, and neither the product
// nor the exponentials are computed twice.
#include "kernels.h"
#include "softmax.h"

enum { ROWS = 128, BAND_ROWS = 32, BAND_COLS = 256 };

// block is the memory of one block of tokens.
typedef struct {
	cpu_lane *l;
	cpu_operand pool, users;  // of products: the pool, and u
	cpu_mat u, du, s;         // ROWS x D; ROWS x D; ROWS x pool
	cpu_mat t;                // ROWS x D: of the way back
	float *sum, *g;           // ROWS: sum of exponentials; sum of weight*sigmoid
	double *z;                // ROWS
	float *bias;              // pool: bias of the pool for one segment, -inf where masked
	cpu_mat v, dv, a;         // BAND_COLS x D, BAND_COLS x D, BAND_ROWS x BAND_COLS
	float *terms;             // BAND_COLS: softplus of a token's pairs
	int32_t *token, *segment; // T each: tokens with positives, and their segments
	int64_t count;            // of them
} block;

INLINE cpu_mat take_mat(cpu_lane *l, int64_t rows, int64_t cols)
{
	int64_t stride = leading(cols);
	cpu_mat m = {(uintptr_t)cpu_take(l, (size_t)(rows * stride) * sizeof(float)), rows, cols, stride};
	return m;
}

INLINE size_t mat_room(int64_t rows, int64_t cols) { return cpu_room((size_t)(rows * leading(cols)) * sizeof(float)); }

INLINE int take_block(cpu_lane *l, block *b, const cpu_all_action *a)
{
	int64_t d = a->users.cols, t = a->users.rows;
	size_t tokens = (size_t)t * sizeof(int32_t);
	size_t room = 3 * mat_room(ROWS, d) + mat_room(ROWS, a->pool) + 4 * mat_room(1, ROWS) +
		mat_room(1, a->pool) + 2 * mat_room(BAND_COLS, d) + mat_room(BAND_ROWS, BAND_COLS) + mat_room(1, BAND_COLS) +
		2 * cpu_room(tokens);
	if (cpu_reserve(l, room)) return CPU_NO_MEMORY;
	cpu_mat pool = {a->items.addr, a->pool, d, a->items.stride};
	b->l = l;
	b->pool = cpu_read(l, CPU_SLOT_A, pool, 0);
	b->u = take_mat(l, ROWS, d);
	b->du = take_mat(l, ROWS, d);
	b->t = take_mat(l, ROWS, d);
	b->s = take_mat(l, ROWS, a->pool);
	b->sum = cpu_take(l, ROWS * sizeof(float));
	b->g = cpu_take(l, ROWS * sizeof(float));
	b->z = cpu_take(l, ROWS * sizeof(double));
	b->bias = cpu_take(l, (size_t)a->pool * sizeof(float));
	b->v = take_mat(l, BAND_COLS, d);
	b->dv = take_mat(l, BAND_COLS, d);
	b->a = take_mat(l, BAND_ROWS, BAND_COLS);
	b->terms = cpu_take(l, BAND_COLS * sizeof(float));
	b->token = cpu_take(l, tokens);
	b->segment = cpu_take(l, tokens);
	return CPU_OK;
}

INLINE void find_tokens(block *b, const cpu_all_action *a, const int32_t *offsets, const int32_t *lo, const int32_t *hi)
{
	b->count = 0;
	for (int64_t s = 0; s < a->segments; s++)
		for (int32_t m = offsets[s]; m < offsets[s + 1]; m++)
			if (lo[m] < hi[m]) {
				b->token[b->count] = m;
				b->segment[b->count++] = (int32_t)s;
			}
}

// segment_bias: the pool's bias, with the segment's masked items at -inf.
INLINE void segment_bias(float *bias, const cpu_all_action *a, int64_t segment)
{
	const float *from = (const float *)a->pool_bias;
	const uint32_t *mask = (const uint32_t *)a->mask + segment * ((a->pool + 31) / 32);
	for (int64_t n = 0; n < a->pool; n++) bias[n] = mask[n / 32] >> n % 32 & 1 ? -__builtin_inff() : from[n];
}

// pool_forward: s = exp(score - max), sum = their sum, z = log of the sum of exp(score).
INLINE int pool_forward(block *b, const cpu_all_action *a, const int32_t *segment, int64_t rows)
{
	int status = cpu_gemm(b->l, 0, 1, rows, a->pool, a->users.cols, a->inv_tau, b->users, b->pool, 0, row(b->s, 0), b->s.stride);
	if (status) return status;
	for (int64_t i = 0; i < rows; i++) {
		float *s = row(b->s, i);
		if (i == 0 || segment[i] != segment[i - 1]) segment_bias(b->bias, a, segment[i]);
		ELEMENTWISE
		for (int64_t n = 0; n < a->pool; n++) s[n] += b->bias[n];
		float m = exp_row(s, a->pool, &b->sum[i]);
		b->z[i] = (double)m + log_d((double)b->sum[i]);
	}
	return CPU_OK;
}

INLINE cpu_mat first_rows(cpu_mat m, int64_t rows, int64_t cols)
{
	cpu_mat part = {m.addr, rows, cols, m.stride};
	return part;
}

// learning tells whether the items' gradient is wanted.
INLINE int learning(const cpu_all_action *a) { return a->ditems.addr != 0; }

// pool_backward: du += beta * q*w, dw += beta * q^T*u, where q = g * softmax is s with its rows scaled. Scaling the short rows on the other side of s is less work.
INLINE int pool_backward(block *b, const cpu_all_action *a, int64_t rows)
{
	int64_t d = a->users.cols;
	cpu_operand s = cpu_read(b->l, CPU_SLOT_C, first_rows(b->s, rows, a->pool), 0);
	int bad = cpu_gemm(b->l, 0, 0, rows, d, a->pool, a->inv_tau, s, b->pool, 0, row(b->t, 0), b->t.stride);
	for (int64_t i = 0; i < rows; i++) {
		float *t = row(b->t, i), *u = row(b->u, i), *du = row(b->du, i);
		float q = b->sum[i] == 0 ? 0 : b->g[i] / b->sum[i]; // a sum of 0: the whole pool is masked, and g is 0 too
		ELEMENTWISE
		for (int64_t c = 0; c < d; c++) {
			du[c] += q * t[c];
			t[c] = q * u[c];
		}
	}
	if (learning(a)) {
		cpu_operand scaled = cpu_read(b->l, CPU_SLOT_D, first_rows(b->t, rows, d), 0);
		bad |= cpu_gemm(b->l, 1, 0, a->pool, d, rows, a->inv_tau, s, scaled, 1, row(a->ditems, 0), a->ditems.stride);
	}
	return bad ? CPU_GEMM_FAILED : CPU_OK;
}

// band_row turns the products a[j] of a token into weight*sigmoid(z - a[j] - bias[j]) and returns their sum; terms receives the softplus.
INLINE float band_row(float *a, float *terms, const float *bias, double z, float weight, int64_t n)
{
	float zf = (float)z;
	ELEMENTWISE
	for (int64_t j = 0; j < n; j++) {
		float x = zf - (a[j] + bias[j]);
		float e = exp_f(-float_of(bits_of(x) & 0x7FFFFFFF));
		terms[j] = choose(x > 0.0f, x, 0.0f) + log1p_f(e);
		a[j] = weight * (choose(x > 0.0f, 1.0f, e) / (1.0f + e));
	}
	return row_sum(a, n);
}

// band is a run of at most BAND_ROWS tokens of one segment, beginning with row `first` of the block.
INLINE int band(block *b, const cpu_all_action *a, const int32_t *token, int64_t first, int64_t rows, const int32_t *lo, const int32_t *hi,
	double *loss)
{
	int64_t d = a->users.cols;
	cpu_operand u = cpu_part(b->l, b->users, first, 0);
	const int32_t *positive = (const int32_t *)a->positive;
	// Bands do not decrease within a segment: the first token has the lowest positive, the last the highest.
	for (int64_t c0 = lo[token[first]], end = hi[token[first + rows - 1]]; c0 < end; c0 += BAND_COLS) {
		int64_t n = end - c0 < BAND_COLS ? end - c0 : BAND_COLS;
		for (int64_t j = 0; j < n; j++) memcpy(row(b->v, j), row(a->items, positive[c0 + j]), (size_t)d * sizeof(float));
		cpu_operand v = cpu_read(b->l, CPU_SLOT_D, first_rows(b->v, n, d), 0);
		int bad = cpu_gemm(b->l, 0, 1, rows, n, d, a->inv_tau, u, v, 0, row(b->a, 0), b->a.stride);
		for (int64_t i = 0; i < rows; i++) {
			int32_t m = token[first + i];
			int64_t from = lo[m] - c0, to = hi[m] - c0;
			from = from < 0 ? 0 : from > n ? n : from;
			to = to > n ? n : to < from ? from : to;
			float *r = row(b->a, i), weight = ((const float *)a->weight)[m];
			b->g[first + i] += band_row(r + from, b->terms, (const float *)a->pos_bias + c0 + from, b->z[first + i], weight, to - from);
			*loss += (double)weight * row_sum_d(b->terms, to - from);
			memset(r, 0, (size_t)from * sizeof(float));
			memset(r + to, 0, (size_t)(n - to) * sizeof(float));
		}
		cpu_operand r = cpu_read(b->l, CPU_SLOT_E, first_rows(b->a, rows, n), 0);
		bad |= cpu_gemm(b->l, 0, 0, rows, d, n, -a->inv_tau, r, v, 1, row(b->du, first), b->du.stride);
		if (learning(a)) bad |= cpu_gemm(b->l, 1, 0, n, d, rows, -a->inv_tau, r, u, 0, row(b->dv, 0), b->dv.stride);
		if (bad) return CPU_GEMM_FAILED;
		for (int64_t j = 0; learning(a) && j < n; j++) {
			float *to = row(a->ditems, positive[c0 + j]), *from = row(b->dv, j);
			ELEMENTWISE
			for (int64_t c = 0; c < d; c++) to[c] += from[c];
		}
	}
	return CPU_OK;
}

INLINE int bands(block *b, const cpu_all_action *a, const int32_t *token, const int32_t *segment, int64_t rows, const int32_t *lo,
	const int32_t *hi, double *loss)
{
	for (int64_t first = 0, next; first < rows; first = next) {
		for (next = first; next < rows && next < first + BAND_ROWS && segment[next] == segment[first];) next++;
		int status = band(b, a, token, first, next - first, lo, hi, loss);
		if (status) return status;
	}
	return CPU_OK;
}

INLINE int token_block(block *b, const cpu_all_action *a, int64_t at, int64_t rows, const int32_t *lo, const int32_t *hi, double *sums)
{
	int64_t d = a->users.cols;
	const int32_t *token = b->token + at, *segment = b->segment + at;
	for (int64_t i = 0; i < rows; i++) {
		memcpy(row(b->u, i), row(a->users, token[i]), (size_t)d * sizeof(float));
		memset(row(b->du, i), 0, (size_t)d * sizeof(float));
		b->g[i] = 0;
	}
	b->users = cpu_read(b->l, CPU_SLOT_B, first_rows(b->u, rows, d), 0);
	int status = pool_forward(b, a, segment, rows);
	if (!status) status = bands(b, a, token, segment, rows, lo, hi, &sums[0]);
	if (!status) status = pool_backward(b, a, rows);
	if (status) return status;
	for (int64_t i = 0; i < rows; i++) {
		sums[1] -= row_dot_d(row(b->u, i), row(b->du, i), d);
		memcpy(row(a->dusers, token[i]), row(b->du, i), (size_t)d * sizeof(float));
	}
	return CPU_OK;
}

INLINE void clear(cpu_mat m)
{
	for (int64_t r = 0; r < m.rows; r++) memset(row(m, r), 0, (size_t)m.cols * sizeof(float));
}

INLINE int cpu_dense_all_action_body(cpu_lane *l, cpu_all_action a, const int32_t *offsets, const int32_t *lo, const int32_t *hi)
{
	for (int64_t j = 0; j < a.positives; j++) {
		int32_t p = ((const int32_t *)a.positive)[j];
		if (p < 0 || p >= a.items.rows) return CPU_BAD_INDEX;
	}
	block b;
	if (take_block(l, &b, &a)) return CPU_NO_MEMORY;
	clear(a.dusers);
	clear(a.ditems);
	find_tokens(&b, &a, offsets, lo, hi);
	double sums[2] = {0, 0};
	for (int64_t at = 0; at < b.count; at += ROWS) {
		int status = token_block(&b, &a, at, b.count - at < ROWS ? b.count - at : ROWS, lo, hi, sums);
		if (status) return status;
	}
	((double *)a.out)[0] += sums[0];
	((double *)a.out)[1] += sums[1];
	return CPU_OK;
}
KERNEL(cpu_dense_all_action, (cpu_lane * l, cpu_all_action a, const int32_t *offsets, const int32_t *lo, const int32_t *hi), l, a,
	offsets, lo, hi)
