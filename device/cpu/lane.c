// Lanes, scratch and device memory.
#define _DEFAULT_SOURCE // madvise
#include "kernels.h"

#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#define ALIGN 64

cpu_lane *cpu_open_lane(int isa)
{
	cpu_lane *l = calloc(1, sizeof *l);
	if (l) l->isa = isa;
	return l;
}

void cpu_close_lane(cpu_lane *l)
{
	cpu_close_primitives(l->primitives);
	for (int i = 0; i < CPU_SLOTS; i++) free(l->slots[i].p);
	free(l->scratch);
	free(l);
}

int cpu_best_isa(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl"))
		return CPU_AVX512;
	if (__builtin_cpu_supports("avx2")) return CPU_AVX2;
#endif
	return CPU_PLAIN;
}

size_t cpu_room(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }

// HUGE_PAGE is the size of a large page where systems have them: passes over vectors spend up to a sixth of their time on finding small ones.
#define HUGE_PAGE ((size_t)2 << 20)

void *cpu_memory(size_t bytes)
{
	bytes = cpu_room(bytes ? bytes : 1);
#if defined(MADV_HUGEPAGE)
	if (bytes >= HUGE_PAGE) {
		void *p = aligned_alloc(HUGE_PAGE, bytes);
		if (p) (void)madvise(p, bytes, MADV_HUGEPAGE); // a system that has none gives small ones
		return p;
	}
#endif
	return aligned_alloc(ALIGN, bytes);
}

void *cpu_alloc(size_t bytes)
{
	void *p = cpu_memory(bytes);
	if (p) memset(p, 0, bytes);
	return p;
}

void cpu_release(uintptr_t p) { free((void *)p); }
void *cpu_host(uintptr_t p) { return (void *)p; }
void cpu_copy(uintptr_t dst, uintptr_t src, size_t bytes) { memmove((void *)dst, (const void *)src, bytes); }

// cpu_copy_past copies past the caches, what does not overlap: for so much that it would not stay there. The copy is then not read before it is written.
void cpu_copy_past(uintptr_t dst, uintptr_t src, size_t bytes)
{
	size_t head = -dst % ALIGN;
	if (head > bytes) head = bytes;
	cpu_copy(dst, src, head);
	past_caches(dst + head, src + head, bytes - head);
	past_done();
}

void cpu_zero(uintptr_t dst, size_t bytes) { memset((void *)dst, 0, bytes); }

int cpu_reserve(cpu_lane *l, size_t bytes)
{
	l->used = 0;
	if (bytes <= l->size) return CPU_OK;
	// Half as much again, so that slowly growing batches do not allocate at each step.
	size_t size = cpu_room(bytes + bytes / 2);
	free(l->scratch);
	l->scratch = cpu_memory(size);
	l->size = l->scratch ? size : 0;
	return l->scratch ? CPU_OK : CPU_NO_MEMORY;
}

void *cpu_take(cpu_lane *l, size_t bytes)
{
	void *p = l->scratch + l->used;
	l->used += cpu_room(bytes);
	return p;
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *cpu_compiler(void)
{
#if defined(__clang__)
	return "clang-" TEXT(__clang_major__) "." TEXT(__clang_minor__);
#else
	return "gcc-" TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__);
#endif
}
