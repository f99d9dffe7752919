// c = alpha*op(a)*op(b) + beta*c, in float32; with half, on tensor cores, of operands that are rounded to bfloat16 first.
//
// c is rows x cols; element (i, k) of op(a) is a[i*a_rows + k*a_inners], element (k, j) of op(b) is b[j*b_cols + k*b_inners].
// A block of 256 threads computes a tile of 64 x 64; grid (column tiles, row tiles). Each element is one thread's sum in increasing k: deterministic.
#include "tile.cuh"

extern "C" __global__ void __launch_bounds__(256, 2) gemm(float *c, int64_t ldc, int64_t rows, int64_t cols, int64_t inner, const float *a, int64_t a_rows,
    int64_t a_inners, const float *b, int64_t b_cols, int64_t b_inners, float alpha, float beta, int half) {
  __shared__ ProductMemory m;
  __shared__ FloatTile exchange;
  float s[4][4];
  int64_t i0 = static_cast<int64_t>(blockIdx.y) * TILE, j0 = static_cast<int64_t>(blockIdx.x) * TILE;
  tile_product(s, m, exchange, Operand{a, a_rows, a_inners, rows}, i0, Operand{b, b_cols, b_inners, cols}, j0, inner, half != 0);
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      int64_t r = i0 + static_cast<int>(threadIdx.x) / 16 * 4 + i, q = j0 + static_cast<int>(threadIdx.x) % 16 * 4 + j;
      if (r >= rows || q >= cols) continue;
      float v = alpha * s[i][j];
      c[r * ldc + q] = beta == 0 ? v : v + beta * c[r * ldc + q];
    }
}

// to = x rounded to bfloat16: operands for a library that reads them so. A thread takes an element, grid (rows, ceil(cols/256)). Elements do not depend on one
// another: deterministic.
extern "C" __global__ void __launch_bounds__(256) to_bfloat16(uint16_t *to, int64_t ldt, const float *x, int64_t ldx, int64_t cols) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) to[r * ldt + c] = static_cast<uint16_t>(__float_as_uint(half_of(x[r * ldx + c], true)) >> 16);
}
