// A 64 x 64 tile of a matrix product in a fixed order, in float32 or, of operands that are rounded to bfloat16, on tensor cores: what gemm.cu and loss.cu share.
//
// On tensor cores each of 8 warps takes 16 rows and 32 columns, 4 fragments of 16 x 8. They read operands from shared memory, where rows are 16 bytes more
// than a power of two apart, so that the 8 rows that a matrix is loaded from lie in different banks.
#pragma once
#include "scalar.cuh"
#include "tensor.cuh"

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
__device__ __forceinline__ void load_operand(float (&to)[DEPTH][TILE + 4], const Operand &o, int64_t first, int64_t lo, int64_t inner) {
  for (int e = static_cast<int>(threadIdx.x); e < TILE * DEPTH; e += TILE_THREADS) {
    int r = o.inners == 1 ? e / DEPTH : e % TILE, k = o.inners == 1 ? e % DEPTH : e / TILE;
    bool in = first + r < o.count && lo + k < inner;
    to[k][r] = in ? o.at[(first + r) * o.rows + (lo + k) * o.inners] : 0.0f;
  }
}

// Operands as bfloat16, by row.
constexpr int HALF_DEPTH = 32;
struct alignas(16) HalfMemory {
  uint16_t a[TILE][HALF_DEPTH + 8], b[TILE][HALF_DEPTH + 8];
};

// A whole tile as bfloat16, and as floats.
using HalfTile = uint16_t[TILE][TILE + 8];
using FloatTile = float[TILE][TILE + 1];

__device__ __forceinline__ uint16_t half_bits(float x) { return static_cast<uint16_t>(__float_as_uint(half_of(x, true)) >> 16); }

__device__ __forceinline__ void load_half(uint16_t (&to)[TILE][HALF_DEPTH + 8], const Operand &o, int64_t first, int64_t lo, int64_t inner) {
  for (int e = static_cast<int>(threadIdx.x); e < TILE * HALF_DEPTH; e += TILE_THREADS) {
    int r = o.inners == 1 ? e / HALF_DEPTH : e % TILE, k = o.inners == 1 ? e % HALF_DEPTH : e / TILE;
    bool in = first + r < o.count && lo + k < inner;
    to[r][k] = in ? half_bits(o.at[(first + r) * o.rows + (lo + k) * o.inners]) : static_cast<uint16_t>(0);
  }
}

// Fragments of a warp: element j of fragment i is at row fragment_row(j) and column fragment_column(i, j) of the tile.
using Fragments = float[4][4];
__device__ __forceinline__ int fragment_row(int j) {
  int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return warp / 2 * 16 + lane / 4 + j / 2 * 8;
}
__device__ __forceinline__ int fragment_column(int i, int j) {
  int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return warp % 2 * 32 + i * 8 + lane % 4 * 2 + j % 2;
}

// multiply adds a*b over DEPTH inner elements: a is [row][inner]; b is [column][inner], or, if TRANSPOSED, [inner][column].
template <int DEPTH_, bool TRANSPOSED, int LDA, int LDB>
__device__ __forceinline__ void multiply(Fragments &c, const uint16_t (&a)[TILE][LDA], const uint16_t (&b)[TILE][LDB]) {
  int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32, row = warp / 2 * 16, column = warp % 2 * 32;
#pragma unroll
  for (int k = 0; k < DEPTH_; k += 16) {
    uint32_t p[4], q[4];
    ldmatrix_x4(p, &a[row + lane % 16][k + lane / 16 * 8]);
#pragma unroll
    for (int i = 0; i < 4; i += 2) { // two fragments at a time
      if (TRANSPOSED) ldmatrix_x4_trans(q, &b[k + lane % 16][column + 8 * i + lane / 16 * 8]);
      else ldmatrix_x4(q, &b[column + 8 * i + lane % 8 + lane / 16 * 8][k + lane / 8 % 2 * 8]);
      uint32_t first[2] = {q[0], q[1]}, second[2] = {q[2], q[3]};
      mma_bf16(c[i], p, first);
      mma_bf16(c[i + 1], p, second);
    }
  }
}

// half_product leaves the product in `to`. All threads of the block call it.
__device__ __forceinline__ void half_product(FloatTile &to, HalfMemory &m, const Operand &a, int64_t i0, const Operand &b, int64_t j0, int64_t inner) {
  Fragments c = {};
  for (int64_t lo = 0; lo < inner; lo += HALF_DEPTH) {
    load_half(m.a, a, i0, lo, inner);
    load_half(m.b, b, j0, lo, inner);
    __syncthreads();
    multiply<HALF_DEPTH, false>(c, m.a, m.b);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) to[fragment_row(j)][fragment_column(i, j)] = c[i][j];
  __syncthreads();
}

// What tile_product needs: `exchange` is where fragments change hands, and may be used for anything else between two calls.
union ProductMemory {
  TileMemory whole;
  HalfMemory half;
};

// tile_product: thread (x, y) of 16 x 16 gets sums of rows i0 + 4y.. and columns j0 + 4x.., over the inner index in increasing order. All threads of the block call it.
__device__ __forceinline__ void tile_product(float (&c)[4][4], ProductMemory &memory, FloatTile &exchange, const Operand &a, int64_t i0, const Operand &b, int64_t j0,
    int64_t inner, bool half) {
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  if (half) {
    half_product(exchange, memory.half, a, i0, b, j0, inner);
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) c[i][j] = exchange[4 * y + i][4 * x + j];
    __syncthreads();
    return;
  }
  TileMemory &m = memory.whole;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) c[i][j] = 0;
  for (int64_t lo = 0; lo < inner; lo += DEPTH) {
    load_operand(m.a, a, i0, lo, inner);
    load_operand(m.b, b, j0, lo, inner);
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

// A product of a function of a product: shares are made of the first one's elements, and multiply rows of the second operand. The fragments of the first one change hands where the shares
// will be.
union Side {
  FloatTile whole;
  alignas(16) HalfTile half;
};
struct ChainMemory {
  ProductMemory product;
  Side shares, rows;
};

// keep stores the thread's 4 x 4 shares, which are rounded already if half.
__device__ __forceinline__ void keep(Side &to, int i, int j, float share, bool half) {
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  if (half) to.half[4 * y + i][4 * x + j] = half_bits(share);
  else to.whole[4 * y + i][4 * x + j] = share;
}

// add_rows: c += shares * the 64 columns from c0 of the rows r0.. of an operand, times factors if there are any. c is the thread's as place says.
__device__ __forceinline__ void add_rows(float (&c)[4][4], ChainMemory &m, const float *b, int64_t ldb, int64_t r0, int64_t rows, int64_t c0, int64_t cols,
    const float *factor, bool half) {
  for (int e = static_cast<int>(threadIdx.x); e < TILE * TILE; e += TILE_THREADS) {
    int64_t r = r0 + e / TILE, k = c0 + e % TILE;
    float v = r < rows && k < cols ? b[r * ldb + k] : 0.0f;
    v = factor && r < rows ? factor[r] * v : v;
    if (half) m.rows.half[e / TILE][e % TILE] = half_bits(v);
    else m.rows.whole[e / TILE][e % TILE] = v;
  }
  __syncthreads();
  if (half) {
    multiply<TILE, true>(c, m.shares.half, m.rows.half);
  } else {
    int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
    for (int k = 0; k < TILE; k++)
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) c[i][j] = c[i][j] + m.shares.whole[4 * y + i][k] * m.rows.whole[k][x + 16 * j];
  }
  __syncthreads();
}

// place is where in its tile element (i, j) of add_rows' c is.
struct Place {
  int row, column;
};
__device__ __forceinline__ Place place(int i, int j, bool half) {
  if (half) return Place{fragment_row(j), fragment_column(i, j)};
  return Place{static_cast<int>(threadIdx.x) / 16 * 4 + i, static_cast<int>(threadIdx.x) % 16 + 16 * j};
}
