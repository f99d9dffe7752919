// What reads and writes a state: its hash, and the update, which hashes every word that it writes while it has it in a register. A hash is two
// multiplications of 32 bits, which compilers do not find by themselves, and the update's divisions leave time for them. state.h has the loops, and is
// compiled for vectors of each width; all give the same bits, because words' hashes are added as integers.
#include "kernels.h"
#include "scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
	STATE_BLOCK = 512,   // elements that the update passes over three times, in the nearest cache
	STATE_LINE = 16,     // words of a cache line
	STATE_AHEAD = 16 * STATE_LINE, // how far ahead of a loop a line is asked for
};

INLINE void ask(uintptr_t address) { __builtin_prefetch((const void *)(address + STATE_AHEAD * sizeof(uint32_t))); }

// word_hash is exact.WordHash of the word whose place in the Weyl sequence is x.
INLINE uint64_t word_hash(uint32_t w, uint64_t x)
{
	uint64_t k = (uint64_t)(uint32_t)x * (x >> 32);
	return (uint64_t)(w ^ (uint32_t)k) * (k >> 32 | 1);
}

// place_of is the place of the word with index i.
INLINE uint64_t place_of(uint64_t i) { return (i + 1) * GOLDEN; }

// adamw_1 updates one element: what a vector does with many. sums are those of cpu_hashes.
INLINE void adamw_1(float *p, float *m, float *v, float g, const cpu_adamw_scalars *a, const cpu_hashes *h, uint64_t i, uint64_t *sums)
{
	float s = g * a->scale;
	*m = a->beta1 * *m + (1.0f - a->beta1) * s;
	*v = a->beta2 * *v + (1.0f - a->beta2) * (s * s);
	*p = *p - a->lr * ((*m / a->correction1) / (sqrt_f(*v / a->correction2) + a->eps) + a->decay * *p);
	sums[0] += word_hash(bits_of(*p), place_of(i));
	sums[1] += word_hash(bits_of(*m), place_of(i + h->size)) + word_hash(bits_of(*v), place_of(i + 2 * h->size));
}

#define NAME(name) name##_plain
#define WORDS 4
#if defined(__x86_64__)
#define MULTIPLY(a, b) _mm_mul_epu32((__m128i)(a), (__m128i)(b))
#define ROOT(x) _mm_sqrt_ps((__m128)(x))
#else
#define MULTIPLY(a, b) (((a) & 0xFFFFFFFF) * ((b) & 0xFFFFFFFF))
#define ROOT(x) ((NAME(floats)){sqrt_f((x)[0]), sqrt_f((x)[1]), sqrt_f((x)[2]), sqrt_f((x)[3])})
#endif
#include "state.h"

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2")
#define NAME(name) name##_avx2
#define WORDS 8
#define MULTIPLY(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#define ROOT(x) _mm256_sqrt_ps((__m256)(x))
#include "state.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#define NAME(name) name##_avx512
#define WORDS 16
#define MULTIPLY(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#define ROOT(x) _mm512_sqrt_ps((__m512)(x))
#include "state.h"
#pragma GCC pop_options

#define DISPATCH(l, ret, name, ...)                                    \
	switch (l->isa) {                                                  \
	case CPU_AVX512: ret name##_avx512(__VA_ARGS__); break;            \
	case CPU_AVX2: ret name##_avx2(__VA_ARGS__); break;                \
	default: ret name##_plain(__VA_ARGS__);                            \
	}
#else
#define DISPATCH(l, ret, name, ...) (void)l; ret name##_plain(__VA_ARGS__)
#endif

uint64_t cpu_hash(cpu_lane *l, uintptr_t x, int64_t n, uint64_t first) { DISPATCH(l, return, hash, x, n, first) }

void cpu_adamw(cpu_lane *l, uintptr_t p, uintptr_t m, uintptr_t v, uintptr_t g, int64_t n, cpu_adamw_scalars a, cpu_hashes h)
{
	DISPATCH(l, , adamw, p, m, v, g, n, &a, &h)
}
