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
