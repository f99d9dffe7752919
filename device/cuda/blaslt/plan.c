//go:build cuda

#include "plan.h"

#include <dlfcn.h>
#include <string.h>

// The library stays open: it may have threads and handlers of its own, which closing it would pull the ground from under.
const char *lt_open(const char *file, struct lt_calls *calls) {
  void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  if (!library) return dlerror();
#define FIND(name) \
  if (!(*(void **)&calls->name = dlsym(library, "cublasLt" #name))) return "cublasLt" #name " is missing in it";
  LT_EACH_CALL(FIND)
#undef FIND
  return 0;
}

int lt_describe(struct lt_plan *p, const struct lt_calls *c, const struct lt_shape *s, uint64_t workspace) {
  memset(p, 0, sizeof *p);
  p->calls = c;
  int half = s->kind == LT_BFLOAT16, type = half ? LT_R_16BF : LT_R_32F;
  int swap_a = s->op_a == LT_OP_T, swap_b = s->op_b == LT_OP_T;
  // Parts of long sums may be added in float32 in a step of its own, which has one order. Not in place, where blocks take turns.
  uint32_t schemes = LT_REDUCTION_COMPUTE_TYPE;
  int status = c->MatmulDescCreate(&p->desc, half ? LT_COMPUTE_32F : LT_COMPUTE_32F_PEDANTIC, LT_R_32F);
  if (!status) status = c->MatmulDescSetAttribute(p->desc, LT_DESC_TRANSA, &s->op_a, sizeof s->op_a);
  if (!status) status = c->MatmulDescSetAttribute(p->desc, LT_DESC_TRANSB, &s->op_b, sizeof s->op_b);
  if (!status) status = c->MatrixLayoutCreate(&p->a, type, swap_a ? s->inner : s->rows, swap_a ? s->rows : s->inner, s->lda);
  if (!status) status = c->MatrixLayoutCreate(&p->b, type, swap_b ? s->cols : s->inner, swap_b ? s->inner : s->cols, s->ldb);
  if (!status) status = c->MatrixLayoutCreate(&p->d, LT_R_32F, s->rows, s->cols, s->ldd);
  if (!status) status = c->MatmulPreferenceCreate(&p->preference);
  if (!status) status = c->MatmulPreferenceSetAttribute(p->preference, LT_PREF_MAX_WORKSPACE, &workspace, sizeof workspace);
  if (!status) status = c->MatmulPreferenceSetAttribute(p->preference, LT_PREF_REDUCTION_SCHEMES, &schemes, sizeof schemes);
  for (int i = LT_PREF_ALIGNMENT_A; i <= LT_PREF_ALIGNMENT_D && !status; i++) {
    const uint32_t *bytes = i <= LT_PREF_ALIGNMENT_B ? &s->align_ab : &s->align_d;
    status = c->MatmulPreferenceSetAttribute(p->preference, i, bytes, sizeof *bytes);
  }
  return status;
}

int lt_choose(struct lt_plan *p, void *handle) {
  p->handle = handle;
  int found = 0;
  int status = p->calls->MatmulAlgoGetHeuristic(handle, p->desc, p->a, p->b, p->d, p->d, p->preference, 1, &p->choice, &found);
  if (!status) status = found > 0 ? p->choice.status : LT_NOT_SUPPORTED;
  return status;
}

void lt_drop(struct lt_plan *p) {
  if (p->preference) p->calls->MatmulPreferenceDestroy(p->preference);
  if (p->a) p->calls->MatrixLayoutDestroy(p->a);
  if (p->b) p->calls->MatrixLayoutDestroy(p->b);
  if (p->d) p->calls->MatrixLayoutDestroy(p->d);
  if (p->desc) p->calls->MatmulDescDestroy(p->desc);
}

int lt_run(const struct lt_plan *p, uintptr_t d, float alpha, uintptr_t a, uintptr_t b, float beta, uintptr_t workspace, void *stream) {
  return p->calls->Matmul(p->handle, p->desc, &alpha, (const void *)a, p->a, (const void *)b, p->b, &beta, (const void *)d, p->d, (void *)d, p->d,
      &p->choice.algorithm, (void *)workspace, p->choice.workspace, stream);
}

size_t lt_version(const struct lt_calls *c) { return c->GetVersion(); }
const char *lt_status_name(const struct lt_calls *c, int status) { return c->GetStatusName(status); }
int lt_create(const struct lt_calls *c, void **handle) { return c->Create(handle); }
int lt_destroy(const struct lt_calls *c, void *handle) { return c->Destroy(handle); }
