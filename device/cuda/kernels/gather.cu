// Rows by index. An index is data: one outside of the rows that it chooses from sets *bad, and is passed over.
#include "common.cuh"

// dst[i,:] = src[index[i],:], or += with add. Grid (rows, ceil(cols/256)); a thread takes one element.
extern "C" __global__ void __launch_bounds__(256) gather(float *dst, int64_t ldd, int64_t cols, const float *src, int64_t lds, int64_t src_rows, const int32_t *index,
    int add, int32_t *bad) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  int32_t at = index[r];
  if (at < 0 || at >= src_rows) {
    *bad = 1;
    return;
  }
  if (c < cols) dst[r * ldd + c] = add ? dst[r * ldd + c] + src[at * lds + c] : src[at * lds + c];
}

// dst[index[i],:] += src[i,:], in increasing i. A block of 256 threads takes a row of dst (grid: dst_rows), and looks through all indices, 256 at a time;
// the warps' votes say which are its own, and each thread then adds these in order to its columns. No two threads write one element: deterministic.
extern "C" __global__ void __launch_bounds__(256) scatter_add(float *dst, int64_t ldd, int64_t cols, int64_t dst_rows, const float *src, int64_t lds, int64_t rows,
    const int32_t *index, int32_t *bad) {
  __shared__ uint32_t votes[8];
  int t = static_cast<int>(threadIdx.x);
  for (int64_t lo = 0; lo < rows; lo += 256) {
    int32_t at = lo + t < rows ? index[lo + t] : 0;
    if (at < 0 || at >= dst_rows) *bad = 1;
    int own = lo + t < rows && at == static_cast<int32_t>(blockIdx.x);
    uint32_t vote = __ballot_sync(0xFFFFFFFFu, own);
    if (t % 32 == 0) votes[t / 32] = vote;
    if (__syncthreads_or(own))
      for (int64_t c = t; c < cols; c += 256) {
        float s = dst[blockIdx.x * ldd + c];
        for (int w = 0; w < 8; w++)
          for (uint32_t v = votes[w]; v; v &= v - 1) s = s + src[(lo + w * 32 + __ffs(static_cast<int>(v)) - 1) * lds + c];
        dst[blockIdx.x * ldd + c] = s;
      }
    __syncthreads();
  }
}
