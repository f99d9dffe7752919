// libcublasLt.so.13 of the emulated device: the calls of ../../blaslt/abi.h as plain loops, queued on the device's streams. What it is told wrongly is reported.
#include "../../blaslt/abi.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "../driver.h"
#include "../fault.h"
#include "../memory.h"

using namespace emulation;

namespace {
enum { NOT_INITIALIZED = 1 };
struct Handle {};
struct Description {
  int compute, scale;
  std::map<int, int32_t> set{};
};
struct Layout {
  int type;
  int64_t rows, cols, ld;
  size_t element() const { return type == LT_R_16BF ? 2 : 4; }
  size_t bytes() const { return static_cast<size_t>((cols - 1) * ld + rows) * element(); }
};
struct Preference {
  uint64_t workspace = 0;
  std::map<int, uint32_t> set{};
};

// Handles, and what else was created and not destroyed.
int handles, things;

int wrong(const char *what) { return report("cublasLt: %s", what), LT_INVALID_VALUE; }
template <class T, class... A> int create(void **to, A... arguments) { return *to = new T{arguments...}, things++, LT_SUCCESS; }
template <class T> int destroy(void *thing) { return delete static_cast<T *>(thing), things--, LT_SUCCESS; }

// A product as it was described: d is rows x cols.
struct Product {
  Layout a, b, d;
  bool swap_a, swap_b;
  int64_t rows, cols, inner;
  int parts; // of the sums, which go through the workspace if there are 2
  size_t workspace() const { return parts == 1 ? 0 : static_cast<size_t>(parts * rows * cols) * sizeof(float); }
};

// described returns why a product cannot be, or null.
const char *described(Product &p, const Description &t, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
  auto operation = [&](int attribute) { return t.set.count(attribute) ? t.set.at(attribute) : LT_OP_N; };
  p = {a, b, d, operation(LT_DESC_TRANSA) == LT_OP_T, operation(LT_DESC_TRANSB) == LT_OP_T, d.rows, d.cols, 0, 1};
  p.inner = p.swap_a ? a.rows : a.cols;
  bool half = a.type == LT_R_16BF;
  if (t.compute != (half ? LT_COMPUTE_32F : LT_COMPUTE_32F_PEDANTIC) || t.scale != LT_R_32F || b.type != a.type || d.type != LT_R_32F || c.type != d.type)
    return "types that are not emulated";
  if ((p.swap_a ? a.cols : a.rows) != p.rows || (p.swap_b ? b.cols : b.rows) != p.inner || (p.swap_b ? b.rows : b.cols) != p.cols) return "shapes do not fit";
  if (c.rows != d.rows || c.cols != d.cols || c.ld != d.ld) return "c is not laid out as d";
  for (auto &m : {a, b, d})
    if (m.rows < 1 || m.cols < 1 || m.ld < m.rows) return "an empty matrix, or a stride that is too short";
  return nullptr;
}

float element(const void *at, size_t i, int type) {
  if (type == LT_R_32F) return static_cast<const float *>(at)[i];
  uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t *>(at)[i]) << 16;
  float x;
  return std::memcpy(&x, &bits, sizeof x), x;
}

// gathered is a matrix, or its transpose, column after column.
std::vector<float> gathered(const void *at, const Layout &m, bool swap) {
  std::vector<float> x;
  for (int64_t i = 0; i < (swap ? m.rows : m.cols); i++)
    for (int64_t j = 0; j < (swap ? m.cols : m.rows); j++) x.push_back(element(at, static_cast<size_t>(swap ? j * m.ld + i : i * m.ld + j), m.type));
  return x;
}

// multiply adds each part of the sums in increasing k, then the parts: in float32.
void multiply(const Product &p, float *d, float alpha, const void *pa, const void *pb, float beta, float *workspace) {
  auto a = gathered(pa, p.a, p.swap_a), b = gathered(pb, p.b, p.swap_b);
  std::vector<float> sums;
  if (p.parts == 1) sums.resize(static_cast<size_t>(p.rows * p.cols)), workspace = sums.data();
  for (int part = 0; part < p.parts; part++)
    for (int64_t col = 0; col < p.cols; col++) {
      float *s = workspace + (part * p.cols + col) * p.rows;
      std::fill_n(s, p.rows, 0.0f);
      for (int64_t k = p.inner * part / p.parts; k < p.inner * (part + 1) / p.parts; k++)
        for (int64_t row = 0; row < p.rows; row++) s[row] += a[static_cast<size_t>(k * p.rows + row)] * b[static_cast<size_t>(col * p.inner + k)];
    }
  for (int64_t col = 0; col < p.cols; col++)
    for (int64_t row = 0; row < p.rows; row++) {
      float s = workspace[col * p.rows + row], *to = d + col * p.d.ld + row;
      if (p.parts == 2) s += workspace[(p.cols + col) * p.rows + row];
      *to = beta == 0 ? alpha * s : alpha * s + beta * *to;
    }
}
} // namespace

#define LT extern "C" __attribute__((visibility("default")))

LT size_t cublasLtGetVersion(void) { return 130000; }
LT const char *cublasLtGetStatusName(int status) {
  switch (status) {
  case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
  case LT_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
  case LT_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
  case LT_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
  default: return "CUBLAS_STATUS_UNKNOWN";
  }
}

LT int cublasLtCreate(void **handle) {
  Call call;
  if (call.refused) return NOT_INITIALIZED;
  return handles++, *handle = new Handle, LT_SUCCESS;
}
LT int cublasLtDestroy(void *handle) {
  Call call(false);
  delete static_cast<Handle *>(handle);
  if (--handles > 0 || things == 0) return LT_SUCCESS;
  return things = 0, wrong("the last handle was destroyed before descriptors, layouts and preferences were");
}

LT int cublasLtMatmulDescCreate(void **to, int compute, int scale) { return Call(false), create<Description>(to, compute, scale); }
LT int cublasLtMatmulDescDestroy(void *t) { return Call(false), destroy<Description>(t); }
LT int cublasLtMatmulDescSetAttribute(void *t, int attribute, const void *value, size_t bytes) {
  if ((attribute != LT_DESC_TRANSA && attribute != LT_DESC_TRANSB) || bytes != sizeof(int32_t)) return wrong("an attribute of a descriptor that is not emulated");
  return static_cast<Description *>(t)->set[attribute] = *static_cast<const int32_t *>(value), LT_SUCCESS;
}

LT int cublasLtMatrixLayoutCreate(void **to, int type, uint64_t rows, uint64_t cols, int64_t ld) {
  return Call(false), create<Layout>(to, type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), ld);
}
LT int cublasLtMatrixLayoutDestroy(void *t) { return Call(false), destroy<Layout>(t); }

LT int cublasLtMatmulPreferenceCreate(void **to) { return Call(false), create<Preference>(to); }
LT int cublasLtMatmulPreferenceDestroy(void *t) { return Call(false), destroy<Preference>(t); }
LT int cublasLtMatmulPreferenceSetAttribute(void *t, int attribute, const void *value, size_t bytes) {
  auto p = static_cast<Preference *>(t);
  if (attribute == LT_PREF_MAX_WORKSPACE && bytes == sizeof(uint64_t)) return p->workspace = *static_cast<const uint64_t *>(value), LT_SUCCESS;
  if (attribute < LT_PREF_REDUCTION_SCHEMES || attribute > LT_PREF_ALIGNMENT_D || bytes != sizeof(uint32_t)) return wrong("a preference that is not emulated");
  return p->set[attribute] = *static_cast<const uint32_t *>(value), LT_SUCCESS;
}

// One algorithm: data is its parts and the alignments that it was promised. It has none for d of one row, so that a program meets that too.
LT int cublasLtMatmulAlgoGetHeuristic(void *, void *desc, void *a, void *b, void *c, void *d, void *preference, int wanted, lt_choice *choices, int *found) {
  Call call;
  Product p;
  auto layout = [](void *l) -> Layout & { return *static_cast<Layout *>(l); };
  auto prefer = static_cast<Preference *>(preference);
  if (call.refused) return LT_EXECUTION_FAILED;
  if (auto why = described(p, *static_cast<Description *>(desc), layout(a), layout(b), layout(c), layout(d))) return wrong(why);
  if (wanted < 1 || (*found = p.rows > 1) == 0) return LT_NOT_SUPPORTED;
  p.parts = p.inner > 32 && prefer->set[LT_PREF_REDUCTION_SCHEMES] & LT_REDUCTION_COMPUTE_TYPE ? 2 : 1;
  if (p.workspace() > prefer->workspace) p.parts = 1;
  *choices = {{{static_cast<uint64_t>(p.parts)}}, p.workspace(), LT_SUCCESS, 1, {}};
  for (int i = 0; i < 4; i++) choices->algorithm.data[1 + i] = prefer->set[LT_PREF_ALIGNMENT_A + i];
  return LT_SUCCESS;
}

LT int cublasLtMatmul(void *, void *desc, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout, const void *beta, const void *c,
                      void *c_layout, void *d, void *d_layout, const lt_algorithm *algorithm, void *workspace, size_t workspace_bytes, void *stream) {
  Call call;
  Product p;
  auto layout = [](void *l) -> Layout & { return *static_cast<Layout *>(l); };
  if (call.refused) return LT_EXECUTION_FAILED;
  if (auto why = described(p, *static_cast<Description *>(desc), layout(a_layout), layout(b_layout), layout(c_layout), layout(d_layout))) return wrong(why);
  p.parts = static_cast<int>(algorithm->data[0]);
  if (p.parts < 1 || p.parts > 2) return wrong("an algorithm that nobody chose");
  if (c != d) return wrong("c that is not d is not emulated");
  if (workspace_bytes < p.workspace()) return wrong("a workspace that is too small");
  const void *addresses[] = {a, b, c, d};
  for (int i = 0; i < 4; i++)
    if (reinterpret_cast<uintptr_t>(addresses[i]) % algorithm->data[1 + i]) return wrong("an address that is not aligned as was promised");
  if (fails(call.context, "a product")) return LT_EXECUTION_FAILED;
  float x = *static_cast<const float *>(alpha), y = *static_cast<const float *>(beta);
  auto result = submit(call.context, static_cast<CUstream>(stream), [=] {
    auto in = [](const void *at, size_t bytes, const char *what) { return within(reinterpret_cast<uintptr_t>(at), bytes, what); };
    if (!in(a, p.a.bytes(), "operand a of a product") || !in(b, p.b.bytes(), "operand b of a product") || !in(d, p.d.bytes(), "result of a product") ||
        !in(workspace, p.workspace(), "workspace of a product"))
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    multiply(p, static_cast<float *>(d), x, a, b, y, static_cast<float *>(workspace));
    return CUDA_SUCCESS;
  });
  return result ? LT_EXECUTION_FAILED : LT_SUCCESS;
}
