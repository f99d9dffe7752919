// The hash of words, and AdamW, in vectors of WORDS words. MULTIPLY multiplies the lower halves of 64-bit lanes, ROOT takes square roots. state.c includes this
// file again and again, with other vectors each time.
#define floats NAME(floats)
#define pairs NAME(pairs)
#define floats_in_memory NAME(floats_in_memory)
#define account NAME(account)

typedef float floats __attribute__((vector_size(4 * WORDS)));
typedef float floats_in_memory __attribute__((vector_size(4 * WORDS), aligned(4), may_alias));
typedef uint64_t pairs __attribute__((vector_size(4 * WORDS))); // of words; the even one is the lower half

INLINE floats NAME(load)(uintptr_t address) { return *(const floats_in_memory *)address; }
INLINE void NAME(store)(uintptr_t address, floats x) { *(floats_in_memory *)address = x; }
INLINE pairs NAME(multiply)(pairs a, pairs b) { return (pairs)MULTIPLY(a, b); }

// account adds up the hashes of consecutive words, of which at are the places of the next even ones.
typedef struct {
	pairs at, sum;
} account;

INLINE account NAME(open)(uint64_t first)
{
	account a = {0};
	for (int i = 0; i < WORDS / 2; i++) a.at[i] = place_of(first + 2 * (uint64_t)i);
	return a;
}

// keys are the words' factors, of which the upper halves multiply what the lower halves have spoilt.
INLINE pairs NAME(keys)(pairs at) { return NAME(multiply)(at, at >> 32); }
INLINE pairs NAME(hashes)(pairs words, pairs keys) { return NAME(multiply)(words ^ keys, keys >> 32 | 1); }

INLINE void NAME(note)(account *a, floats x)
{
	pairs words = (pairs)x;
	a->sum += NAME(hashes)(words, NAME(keys)(a->at)) + NAME(hashes)(words >> 32, NAME(keys)(a->at + GOLDEN));
	a->at += WORDS * GOLDEN;
}

INLINE uint64_t NAME(total)(pairs x)
{
	uint64_t sum = 0;
	for (int i = 0; i < WORDS / 2; i++) sum += x[i];
	return sum;
}

static uint64_t NAME(hash)(uintptr_t x, int64_t n, uint64_t first)
{
	account a = NAME(open)(first);
	int64_t i = 0;
	for (; i + STATE_LINE <= n; i += STATE_LINE) {
		ask(x + (uintptr_t)i * sizeof(uint32_t));
		for (int j = 0; j < STATE_LINE; j += WORDS) NAME(note)(&a, NAME(load)(x + (uintptr_t)(i + j) * sizeof(uint32_t)));
	}
	uint64_t sum = NAME(total)(a.sum);
	for (; i < n; i++) sum += word_hash(((const uint32_t *)x)[i], place_of(first + (uint64_t)i));
	return sum;
}

// adamw: three passes over each block, a vector of state in each, so that a division or a root is always on its way while words are hashed: in one pass
// they would wait for one another, and the processor could not look far enough ahead.
static void NAME(adamw)(uintptr_t p, uintptr_t m, uintptr_t v, uintptr_t g, int64_t n, const cpu_adamw_scalars *a, const cpu_hashes *h)
{
	float root[STATE_BLOCK], ratio[STATE_BLOCK], rest1 = 1.0f - a->beta1, rest2 = 1.0f - a->beta2;
	account ps = NAME(open)(h->first), ms = NAME(open)(h->first + h->size), vs = NAME(open)(h->first + 2 * h->size);
	int64_t whole = n / WORDS * WORDS;
	for (int64_t lo = 0; lo < whole; lo += STATE_BLOCK) {
		uintptr_t from = (uintptr_t)lo * sizeof(float), bytes = (uintptr_t)(whole - lo < STATE_BLOCK ? whole - lo : STATE_BLOCK) * sizeof(float);
		for (uintptr_t i = 0; i < bytes; i += sizeof(floats)) {
			ask(g + from + i), ask(v + from + i);
			floats old = NAME(load)(v + from + i), s = NAME(load)(g + from + i) * a->scale, x = a->beta2 * old + rest2 * (s * s);
			NAME(store)(v + from + i, x);
			NAME(store)((uintptr_t)root + i, x / a->correction2);
			NAME(note)(&vs, x);
		}
		for (uintptr_t i = 0; i < bytes; i += sizeof(floats)) {
			ask(m + from + i);
			floats old = NAME(load)(m + from + i), s = NAME(load)(g + from + i) * a->scale, x = a->beta1 * old + rest1 * s;
			NAME(store)(m + from + i, x);
			NAME(store)((uintptr_t)ratio + i, x / a->correction1);
			NAME(store)((uintptr_t)root + i, (floats)ROOT(NAME(load)((uintptr_t)root + i)));
			NAME(note)(&ms, x);
		}
		for (uintptr_t i = 0; i < bytes; i += sizeof(floats)) {
			ask(p + from + i);
			floats old = NAME(load)(p + from + i), r = NAME(load)((uintptr_t)ratio + i) / (NAME(load)((uintptr_t)root + i) + a->eps);
			floats x = old - a->lr * (r + a->decay * old);
			NAME(store)(p + from + i, x);
			NAME(note)(&ps, x);
		}
	}
	uint64_t *sums = (uint64_t *)h->sums;
	sums[0] += NAME(total)(ps.sum), sums[1] += NAME(total)(ms.sum + vs.sum);
	for (int64_t i = whole; i < n; i++) adamw_1((float *)p + i, (float *)m + i, (float *)v + i, ((const float *)g)[i], a, h, h->first + (uint64_t)i, sums);
}

#undef floats
#undef pairs
#undef floats_in_memory
#undef account
#undef NAME
#undef WORDS
#undef MULTIPLY
#undef ROOT
