// A 64 x 64 tile of a matrix product, in float32 and in a fixed order: what gemm.cu and loss.cu share.
#pragma once
#include "scalar.cuh"

constexpr int TILE = 64, DEPTH = 16, TILE_THREADS = 256;

// An operand: element (row, inner) is at[row*rows + inner*inners]; rows from `count` on are zero.
struct Operand {
  const float *at;
  int64_t rows, inners, count;
};

struct TileMemory {
  float a[DEPTH][TILE + 4], b[DEPTH][TILE + 4];
};

// load copies rows first..first+63 of inner lo..lo+15. Neighbouring threads take neighbouring addresses.
__device__ __forceinline__ void load_operand(float (&to)[DEPTH][TILE + 4], const Operand &o, int64_t first, int64_t lo, int64_t inner, bool half) {
  for (int e = static_cast<int>(threadIdx.x); e < TILE * DEPTH; e += TILE_THREADS) {
    int r = o.inners == 1 ? e / DEPTH : e % TILE, k = o.inners == 1 ? e % DEPTH : e / TILE;
    bool in = first + r < o.count && lo + k < inner;
    to[k][r] = in ? half_of(o.at[(first + r) * o.rows + (lo + k) * o.inners], half) : 0.0f;
  }
}

// tile_product: thread (x, y) of 16 x 16 gets sums of rows i0 + 4y.. and columns j0 + 4x.., over the inner index in increasing order. All threads of the block call it.
__device__ __forceinline__ void tile_product(float (&c)[4][4], TileMemory &m, const Operand &a, int64_t i0, const Operand &b, int64_t j0, int64_t inner, bool half) {
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) c[i][j] = 0;
  for (int64_t lo = 0; lo < inner; lo += DEPTH) {
    load_operand(m.a, a, i0, lo, inner, half);
    load_operand(m.b, b, j0, lo, inner, half);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
      float p[4], q[4];
      for (int i = 0; i < 4; i++) p[i] = m.a[k][4 * y + i];
      for (int j = 0; j < 4; j++) q[j] = m.b[k][4 * x + j];
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) c[i][j] = c[i][j] + p[i] * q[j];
    }
    __syncthreads();
  }
}
