//go:build !lean

// oneDNN, one thread: products of floats, and the instruction sets that it may use.
#include "kernels.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

// The number of threads belongs to the calling thread, which may be another one at each call from Go; with more than one, sums would be split
// differently on another machine.
void cpu_one_thread(void) { omp_set_num_threads(1); }

int cpu_sgemm(cpu_lane *l, int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
	float beta, float *c, int64_t ldc)
{
	(void)l;
	cpu_one_thread();
	return dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) == dnnl_success ? CPU_OK : CPU_GEMM_FAILED;
}

// In the order of isaNames in class.go.
static const dnnl_cpu_isa_t sets[] = {
	dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx2_vnni, dnnl_cpu_isa_avx512_core, dnnl_cpu_isa_avx512_core_vnni,
	dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_avx512_core_amx,
};
enum { SETS = sizeof sets / sizeof sets[0] };

int cpu_cap_isa(int i) { return dnnl_set_max_cpu_isa(sets[i]) == dnnl_success; }

int cpu_effective_isa(void)
{
	dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
	for (int i = 0; i < SETS; i++)
		if (sets[i] == isa) return i;
	return -1;
}

int cpu_has_bfloat16(void)
{
	dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
	return isa == dnnl_cpu_isa_avx512_core_bf16 || isa == dnnl_cpu_isa_avx512_core_amx;
}

void cpu_dnnl_version(int *major, int *minor, int *patch)
{
	const dnnl_version_t *v = dnnl_version();
	*major = v->major;
	*minor = v->minor;
	*patch = v->patch;
}
