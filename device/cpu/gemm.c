// Matrix products: oneDNN, one thread.
#include "kernels.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

int cpu_gemm(int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b,
	int64_t ldb, float beta, float *c, int64_t ldc)
{
	if (m == 0 || n == 0) return CPU_OK;
	if (k == 0) {
		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
		return CPU_OK;
	}
	// The number of threads belongs to the calling thread, which may be another one at each call from Go; with more than one, sums
	// would be split differently on another machine.
	omp_set_num_threads(1);
	dnnl_status_t s = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
	return s == dnnl_success ? CPU_OK : CPU_GEMM_FAILED;
}

// The names are those of the job file, and of oneDNN where the job file has none.
static const struct {
	const char *name;
	dnnl_cpu_isa_t isa;
} sets[] = {
	{"sse41", dnnl_cpu_isa_sse41},
	{"avx", dnnl_cpu_isa_avx},
	{"avx2", dnnl_cpu_isa_avx2},
	{"avx2_vnni", dnnl_cpu_isa_avx2_vnni},
	{"avx512", dnnl_cpu_isa_avx512_core},
	{"avx512_vnni", dnnl_cpu_isa_avx512_core_vnni},
	{"avx512_bf16", dnnl_cpu_isa_avx512_core_bf16},
	{"amx", dnnl_cpu_isa_avx512_core_amx},
};
enum { SETS = sizeof sets / sizeof sets[0] };

const char *cpu_isa_name(int i) { return i < SETS ? sets[i].name : NULL; }
int cpu_cap_isa(int i) { return dnnl_set_max_cpu_isa(sets[i].isa) == dnnl_success; }

int cpu_effective_isa(void)
{
	dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
	for (int i = 0; i < SETS; i++)
		if (sets[i].isa == isa) return i;
	return -1;
}

void cpu_dnnl_version(int *major, int *minor, int *patch)
{
	const dnnl_version_t *v = dnnl_version();
	*major = v->major;
	*minor = v->minor;
	*patch = v->patch;
}
