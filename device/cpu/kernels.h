// What the C files of this package share: types, instruction sets, scratch memory, and the operators' prototypes.
//
// Rules that keep the bits: plain IEEE operations in a written order; no fused multiply-add (-std=c11 switches contraction off, and no
// instruction set below includes it); sums run in fixed lanes that do not depend on the vector width.
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

// Addresses travel as integers: Go must not hold foreign memory as pointers, nor convert integers into pointers.
typedef struct {
	uintptr_t addr;
	int64_t rows, cols, stride;
} cpu_mat;

enum { CPU_PLAIN, CPU_AVX2, CPU_AVX512 };

// What an operator returns.
enum { CPU_OK, CPU_NO_MEMORY, CPU_BAD_INDEX, CPU_GEMM_FAILED };

// How a lane's products read their operands. Whatever it is, they add up in float32.
enum {
	CPU_FLOAT32,
	CPU_BFLOAT16,        // rounded to bfloat16, kept as floats
	CPU_BFLOAT16_NATIVE, // as bfloat16, by instructions for it
	CPU_FLOAT32_PRIMITIVE, // the code of the former with float32, which runs on every machine: for tests
};

// Copies of operands are in slots, each valid until its next use.
enum { CPU_SLOT_A, CPU_SLOT_B, CPU_SLOT_C, CPU_SLOT_D, CPU_SLOT_E, CPU_SLOT_RESULT, CPU_SLOTS };

// A lane: what one goroutine at a time computes with.
typedef struct {
	int isa, products;
	char *scratch; // grows, and is reused by every operator
	size_t size, used;
	struct {
		void *p;
		size_t size;
	} slots[CPU_SLOTS];
	struct cpu_primitives *primitives; // NULL until one is needed
} cpu_lane;

// KERNEL defines the operator `name` from `name_body`, compiled once for each instruction set, all of which give the same bits.
#define KERNEL(name, params, ...) KERNEL_AS(int, return, name, params, __VA_ARGS__)

#if defined(__x86_64__)
#define AVX512 "avx512f,avx512bw,avx512dq,avx512vl"
#define KERNEL_AS(type, ret, name, params, ...)                                                                    \
	static type name##_plain params { ret name##_body(__VA_ARGS__); }                                              \
	__attribute__((target("avx2"))) static type name##_avx2 params { ret name##_body(__VA_ARGS__); }                \
	__attribute__((target(AVX512))) static type name##_avx512 params { ret name##_body(__VA_ARGS__); }              \
	type name params                                                                                               \
	{                                                                                                              \
		switch (l->isa) {                                                                                          \
		case CPU_AVX512: ret name##_avx512(__VA_ARGS__); break;                                                    \
		case CPU_AVX2: ret name##_avx2(__VA_ARGS__); break;                                                        \
		default: ret name##_plain(__VA_ARGS__);                                                                    \
		}                                                                                                          \
	}
#else
#define KERNEL_AS(type, ret, name, params, ...) \
	type name params { ret name##_body(__VA_ARGS__); }
#endif

// ELEMENTWISE precedes a loop whose iterations read and write only their own elements, also when buffers coincide.
#define ELEMENTWISE _Pragma("GCC ivdep")

INLINE float *row(cpu_mat m, int64_t r) { return (float *)m.addr + r * m.stride; }
INLINE int dense(cpu_mat m) { return m.stride == m.cols || m.rows == 1; }

// leading is the row length of scratch matrices: whole cache lines, and not a multiple of 512 bytes, where the rows of a column of blocks
// would fall into few sets of a cache; products with a transposed matrix run twice as fast.
INLINE int64_t leading(int64_t cols)
{
	int64_t n = (cols + 15) / 16 * 16;
	return n % 128 ? n : n + 16;
}

// flat views a dense matrix as one long row, which elementwise loops prefer.
INLINE cpu_mat flat(cpu_mat m)
{
	cpu_mat f = {m.addr, 1, m.rows * m.cols, m.rows * m.cols};
	return f;
}

// past_caches copies to memory at a multiple of 16, past the caches but for a rest of some bytes. past_done must follow before anybody else reads it.
INLINE void past_caches(uintptr_t dst, uintptr_t src, size_t bytes)
{
	size_t at = 0;
#if defined(__SSE2__)
	for (; at + sizeof(__m128i) <= bytes; at += sizeof(__m128i)) _mm_stream_si128((__m128i *)(dst + at), _mm_loadu_si128((const __m128i *)(src + at)));
#endif
	memcpy((void *)(dst + at), (const void *)(src + at), bytes - at);
}

INLINE void past_done(void)
{
#if defined(__SSE2__)
	_mm_sfence();
#endif
}

// lane.c
cpu_lane *cpu_open_lane(int isa);
void cpu_close_lane(cpu_lane *l);
int cpu_best_isa(void);
void *cpu_memory(size_t bytes); // aligned to 64, for free to release; NULL if there is none
void *cpu_alloc(size_t bytes);  // the same, zeroed
void cpu_release(uintptr_t p);
void *cpu_host(uintptr_t p); // p for Go to read and write as long as it is allocated
void cpu_copy(uintptr_t dst, uintptr_t src, size_t bytes);
void cpu_copy_past(uintptr_t dst, uintptr_t src, size_t bytes);
void cpu_zero(uintptr_t dst, size_t bytes);
int cpu_reserve(cpu_lane *l, size_t bytes); // forgets what was taken; CPU_OK or CPU_NO_MEMORY
void *cpu_take(cpu_lane *l, size_t bytes);  // within what was reserved, aligned to 64
size_t cpu_room(size_t bytes);              // what cpu_take needs for it
const char *cpu_compiler(void);

// gemm.c
// An operand of a product, as the lane's products read it. addr is 0 if there was no memory.
typedef struct {
	uintptr_t addr;
	int64_t ld; // elements from row to row
} cpu_operand;
INLINE size_t cpu_operand_size(const cpu_lane *l) { return l->products == CPU_BFLOAT16_NATIVE ? sizeof(uint16_t) : sizeof(float); }
// cpu_read makes m an operand: m itself, or a copy in the slot. tidy also copies what products read slowly: worth it if it is read often.
cpu_operand cpu_read(cpu_lane *l, int slot, cpu_mat m, int tidy);
// cpu_part is o from an element on.
INLINE cpu_operand cpu_part(const cpu_lane *l, cpu_operand o, int64_t r, int64_t c)
{
	if (o.addr) o.addr += (uintptr_t)(r * o.ld + c) * cpu_operand_size(l);
	return o;
}
// c[m,n] = alpha*op(a)*op(b) + beta*c, row-major, one thread.
int cpu_gemm(cpu_lane *l, int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, cpu_operand a, cpu_operand b, float beta, float *c,
	int64_t ldc);

void cpu_blend(cpu_lane *l, float *c, int64_t ldc, const float *t, int64_t ldt, int64_t m, int64_t n, float alpha, float beta);

// onednn.c, or plain.c in a lean build: the same for floats, with k at least 1.
int cpu_sgemm(cpu_lane *l, int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
	float beta, float *c, int64_t ldc);
int cpu_has_bfloat16(void); // products of bfloat16 by instructions for it

// primitive.c, or plain.c: c = op(a)*op(b), plus c if told to add. The operands are floats, or halves of them.
typedef struct {
	int half, ta, tb, add;
	int64_t m, n, k, lda, ldb, ldc;
} cpu_shape;
int cpu_product(cpu_lane *l, const cpu_shape *w, void *a, void *b, float *c);
void cpu_close_primitives(struct cpu_primitives *p);

// onednn.c: the instruction sets that oneDNN may be told to stay within, weakest first.
int cpu_cap_isa(int i);      // 1 if oneDNN accepted; it does so only before its first use
int cpu_effective_isa(void); // -1 if it is none of these
void cpu_dnnl_version(int *major, int *minor, int *patch);
void cpu_one_thread(void);

// dense.c
int cpu_matmul(cpu_lane *l, cpu_mat dst, float alpha, cpu_mat a, int ta, cpu_mat b, int tb, float beta);
int cpu_add(cpu_lane *l, cpu_mat dst, cpu_mat a, cpu_mat b);
// Dropout: number i of the stream key decides about element i; threshold 0 is none.
typedef struct {
	uint64_t key;
	uint32_t threshold; // a draw of 24 bits is kept if it is at least this
	float keep;         // and then divided by this
} cpu_dropping;
int cpu_dropout(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_dropping drop);

// linear.c
typedef struct {
	cpu_mat y;
	uintptr_t gamma, beta, mean, rstd;
} cpu_norm;
int cpu_linear(cpu_lane *l, cpu_mat y, cpu_mat x, cpu_mat w, uintptr_t bias);
int cpu_linear_gelu(cpu_lane *l, cpu_mat y, cpu_mat slope, cpu_mat x, cpu_mat w, uintptr_t bias, cpu_dropping drop);
int cpu_linear_add(cpu_lane *l, cpu_mat y, cpu_mat residual, cpu_mat x, cpu_mat w, uintptr_t bias, cpu_dropping drop, cpu_norm norm);
int cpu_linear_backward(cpu_lane *l, cpu_mat dx, cpu_mat dw, uintptr_t dbias, cpu_mat dy, cpu_mat x, cpu_mat w, cpu_mat slope);

// norm.c
int cpu_layer_norm(cpu_lane *l, cpu_mat x, cpu_norm to);
int cpu_layer_norm_backward(cpu_lane *l, cpu_mat dx, uintptr_t dgamma, uintptr_t dbeta, cpu_mat dy, cpu_mat x, uintptr_t gamma,
	uintptr_t mean, uintptr_t rstd);
int cpu_l2_norm(cpu_lane *l, cpu_mat y, uintptr_t norm, cpu_mat x);
int cpu_l2_norm_backward(cpu_lane *l, cpu_mat dx, cpu_mat dy, cpu_mat y, uintptr_t norm);

// sequence.c
int cpu_gather(cpu_lane *l, cpu_mat dst, cpu_mat src, uintptr_t index);
int cpu_gather_add(cpu_lane *l, cpu_mat dst, cpu_mat src, uintptr_t index);
int cpu_scatter_add(cpu_lane *l, cpu_mat dst, cpu_mat src, uintptr_t index);
int cpu_encode_time(cpu_lane *l, cpu_mat dst, uintptr_t times, int64_t count, uintptr_t periods, uintptr_t phases, float log_scale);
int cpu_encode_time_backward(cpu_lane *l, uintptr_t dphases, cpu_mat dy, uintptr_t times, int64_t count, uintptr_t periods,
	uintptr_t phases);

// attention.c; offsets has segments+1 elements, on the host.
int cpu_attention(cpu_lane *l, cpu_mat out, cpu_mat qkv, uintptr_t lse, const int32_t *offsets, int64_t segments, int64_t heads);
int cpu_attention_backward(cpu_lane *l, cpu_mat dqkv, cpu_mat dout, cpu_mat out, cpu_mat qkv, uintptr_t lse, const int32_t *offsets,
	int64_t segments, int64_t heads);

// loss.c; the fields are device.AllAction's.
typedef struct {
	uintptr_t out;
	cpu_mat dusers, ditems, users, items;
	int64_t pool, segments, positives;
	uintptr_t pool_bias, mask, weight, positive, pos_bias;
	float inv_tau;
} cpu_all_action;
int cpu_dense_all_action(cpu_lane *l, cpu_all_action a, const int32_t *offsets, const int32_t *lo, const int32_t *hi);

// update.c
void cpu_to_fixed(cpu_lane *l, uintptr_t acc, uintptr_t x, int64_t n, float limit, uintptr_t bad);
void cpu_raise_exponents(cpu_lane *l, uintptr_t exponents, uintptr_t x, int64_t n);
void cpu_to_blocks16(cpu_lane *l, uintptr_t acc, uintptr_t x, int64_t n, uintptr_t exponents, int fraction, uintptr_t bad);
void cpu_to_blocks32(cpu_lane *l, uintptr_t acc, uintptr_t x, int64_t n, uintptr_t exponents, int fraction, uintptr_t bad);
void cpu_from_blocks16(cpu_lane *l, uintptr_t x, uintptr_t acc, int64_t n, uintptr_t exponents, int fraction, double divisor);
void cpu_from_blocks32(cpu_lane *l, uintptr_t x, uintptr_t acc, int64_t n, uintptr_t exponents, int fraction, double divisor);
void cpu_from_fixed(cpu_lane *l, uintptr_t x, uintptr_t acc, int64_t n, double divisor);
int cpu_squared_norm(cpu_lane *l, double *sum, uintptr_t x, int64_t n);

// state.c
uint64_t cpu_hash(cpu_lane *l, uintptr_t x, int64_t n, uint64_t first);
typedef struct {
	float lr, beta1, beta2, eps, decay, correction1, correction2, scale;
} cpu_adamw_scalars;
// The words' indices, and where the two sums of hashes are: device.Hashes.
typedef struct {
	uint64_t first, size;
	uintptr_t sums;
} cpu_hashes;
void cpu_adamw(cpu_lane *l, uintptr_t p, uintptr_t m, uintptr_t v, uintptr_t g, int64_t n, cpu_adamw_scalars a, cpu_hashes h);

#endif
