//go:build !lean

// Products by oneDNN's matmul primitive, which reads bfloat16 where the processor has instructions for it. A primitive is made for a shape and kept
// for a while.
#include "kernels.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

enum { KEPT = 256 };

typedef struct {
	cpu_shape shape;
	dnnl_primitive_t matmul; // NULL: none
	dnnl_memory_t a, b, c;
} entry;

struct cpu_primitives {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	entry kept[KEPT];
};

static void forget(entry *e)
{
	if (e->matmul) dnnl_primitive_destroy(e->matmul);
	if (e->a) dnnl_memory_destroy(e->a);
	if (e->b) dnnl_memory_destroy(e->b);
	if (e->c) dnnl_memory_destroy(e->c);
	memset(e, 0, sizeof *e);
}

void cpu_close_primitives(struct cpu_primitives *p)
{
	if (!p) return;
	for (int i = 0; i < KEPT; i++) forget(&p->kept[i]);
	if (p->stream) dnnl_stream_destroy(p->stream);
	if (p->engine) dnnl_engine_destroy(p->engine);
	free(p);
}

static struct cpu_primitives *open_primitives(void)
{
	struct cpu_primitives *p = calloc(1, sizeof *p);
	if (p && (dnnl_engine_create(&p->engine, dnnl_cpu, 0) || dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags))) {
		cpu_close_primitives(p);
		return NULL;
	}
	return p;
}

// Version 3 of oneDNN hides descriptions of memory behind pointers, and makes primitives from them without a step between.
#if DNNL_VERSION_MAJOR < 3
typedef dnnl_memory_desc_t layout;
#define LAYOUT(l) (&(l))
static dnnl_status_t lay(layout *l, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
	return dnnl_memory_desc_init_by_strides(l, 2, dims, type, strides);
}
static void unlay(layout *l) { (void)l; }
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1); }
static dnnl_status_t describe(dnnl_primitive_desc_t *d, dnnl_engine_t engine, layout *a, layout *b, layout *c, dnnl_primitive_attr_t attr)
{
	dnnl_matmul_desc_t m;
	dnnl_status_t s = dnnl_matmul_desc_init(&m, a, b, NULL, c);
	return s ? s : dnnl_primitive_desc_create(d, &m, attr, engine, NULL);
}
#else
typedef dnnl_memory_desc_t layout;
#define LAYOUT(l) (l)
static dnnl_status_t lay(layout *l, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides)
{
	return dnnl_memory_desc_create_with_strides(l, 2, dims, type, strides);
}
static void unlay(layout *l)
{
	if (*l) dnnl_memory_desc_destroy(*l);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef); }
static dnnl_status_t describe(dnnl_primitive_desc_t *d, dnnl_engine_t engine, layout *a, layout *b, layout *c, dnnl_primitive_attr_t attr)
{
	return dnnl_matmul_primitive_desc_create(d, engine, *a, *b, NULL, *c, attr);
}
#endif

static dnnl_status_t attributes(dnnl_primitive_attr_t *attr, int add)
{
	dnnl_post_ops_t ops = NULL;
	dnnl_status_t s = dnnl_primitive_attr_create(attr);
	if (s || !add) return s;
	if (!(s = dnnl_post_ops_create(&ops)) && !(s = append_sum(ops))) s = dnnl_primitive_attr_set_post_ops(*attr, ops);
	if (ops) dnnl_post_ops_destroy(ops);
	return s;
}

static int make(struct cpu_primitives *p, entry *e, const cpu_shape *w)
{
	dnnl_dims_t da = {w->m, w->k}, db = {w->k, w->n}, dc = {w->m, w->n};
	dnnl_dims_t sa = {w->ta ? 1 : w->lda, w->ta ? w->lda : 1}, sb = {w->tb ? 1 : w->ldb, w->tb ? w->ldb : 1}, sc = {w->ldc, 1};
	dnnl_data_type_t type = w->half ? dnnl_bf16 : dnnl_f32;
	layout a, b, c;
	memset(&a, 0, sizeof a), memset(&b, 0, sizeof b), memset(&c, 0, sizeof c);
	dnnl_primitive_attr_t attr = NULL;
	dnnl_primitive_desc_t d = NULL;
	int bad = lay(&a, da, type, sa) || lay(&b, db, type, sb) || lay(&c, dc, dnnl_f32, sc) || attributes(&attr, w->add) ||
		describe(&d, p->engine, &a, &b, &c, attr) || dnnl_primitive_create(&e->matmul, d) ||
		dnnl_memory_create(&e->a, LAYOUT(a), p->engine, DNNL_MEMORY_NONE) ||
		dnnl_memory_create(&e->b, LAYOUT(b), p->engine, DNNL_MEMORY_NONE) ||
		dnnl_memory_create(&e->c, LAYOUT(c), p->engine, DNNL_MEMORY_NONE);
	if (d) dnnl_primitive_desc_destroy(d);
	if (attr) dnnl_primitive_attr_destroy(attr);
	unlay(&a), unlay(&b), unlay(&c);
	e->shape = *w;
	if (bad) forget(e);
	return bad ? CPU_GEMM_FAILED : CPU_OK;
}

static unsigned place(const cpu_shape *w)
{
	uint64_t h = 0;
	const int64_t part[] = {w->half * 8 + w->ta * 4 + w->tb * 2 + w->add, w->m, w->n, w->k, w->lda, w->ldb, w->ldc};
	for (size_t i = 0; i < sizeof part / sizeof *part; i++) h = (h ^ (uint64_t)part[i]) * 0x9E3779B97F4A7C15ull, h ^= h >> 29;
	return (unsigned)(h % KEPT);
}

static int same(const cpu_shape *x, const cpu_shape *y)
{
	return x->half == y->half && x->ta == y->ta && x->tb == y->tb && x->add == y->add && x->m == y->m && x->n == y->n && x->k == y->k &&
		x->lda == y->lda && x->ldb == y->ldb && x->ldc == y->ldc;
}

int cpu_product(cpu_lane *l, const cpu_shape *w, void *a, void *b, float *c)
{
	cpu_one_thread();
	if (!l->primitives && !(l->primitives = open_primitives())) return CPU_NO_MEMORY;
	struct cpu_primitives *p = l->primitives;
	entry *e = &p->kept[place(w)];
	if (!e->matmul || !same(&e->shape, w)) {
		forget(e);
		if (make(p, e, w)) return CPU_GEMM_FAILED;
	}
	if (dnnl_memory_set_data_handle(e->a, a) || dnnl_memory_set_data_handle(e->b, b) || dnnl_memory_set_data_handle(e->c, c))
		return CPU_GEMM_FAILED;
	dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, e->a}, {DNNL_ARG_WEIGHTS, e->b}, {DNNL_ARG_DST, e->c}};
	if (dnnl_primitive_execute(e->matmul, p->stream, 3, args)) return CPU_GEMM_FAILED;
	return dnnl_stream_wait(p->stream) ? CPU_GEMM_FAILED : CPU_OK;
}
