// What Go calls: products of column-major matrices, d = alpha*op(a)*op(b) + beta*d.
#pragma once
#include "abi.h"

// lt_open opens a library by its file name. Returns what went wrong (a text that the next call of dlopen may overwrite), or null.
const char *lt_open(const char *file, struct lt_calls *calls);

// Kinds of operands: both float32, multiplied in float32 and nothing less; or both bfloat16, whose sums are float32. d is float32.
enum { LT_FLOAT32, LT_BFLOAT16 };

struct lt_shape {
  int64_t rows, cols, inner; // d is rows x cols
  int64_t lda, ldb, ldd;
  int32_t op_a, op_b; // LT_OP_N, LT_OP_T
  int32_t kind;
  uint32_t align_ab, align_d; // bytes that addresses are promised to be aligned to
};

// A plan is how one shape is computed.
struct lt_plan {
  const struct lt_calls *calls;
  void *handle, *desc, *a, *b, *d, *preference;
  struct lt_choice choice;
};

// lt_describe tells the library all of a shape, with at most so many bytes of workspace, but chooses nothing yet. lt_choose chooses: LT_NOT_SUPPORTED if there is
// no algorithm. Both return the library's status. lt_drop may follow either.
int lt_describe(struct lt_plan *plan, const struct lt_calls *calls, const struct lt_shape *shape, uint64_t workspace);
int lt_choose(struct lt_plan *plan, void *handle);
void lt_drop(struct lt_plan *plan);

// lt_run queues a product on a stream. Addresses are the device's, the workspace is of as many bytes as were said.
int lt_run(const struct lt_plan *plan, uintptr_t d, float alpha, uintptr_t a, uintptr_t b, float beta, uintptr_t workspace, void *stream);

// Calls of function pointers, for Go.
size_t lt_version(const struct lt_calls *calls);
const char *lt_status_name(const struct lt_calls *calls, int status);
int lt_create(const struct lt_calls *calls, void **handle);
int lt_destroy(const struct lt_calls *calls, void *handle);
