// The twins of ../kernels/tensor.cuh. A product is made by the last lane to come, for the whole warp: that is many times faster than each
// lane making its own.
#pragma once

namespace emulation {
inline float bf16_low(uint32_t r) { return bits<float>(r << 16); }
inline float bf16_high(uint32_t r) { return bits<float>(r & 0xffff0000u); }

struct Fragments {
  float *c;
  const uint32_t *a, *b;
};

// A 16 x 8 tile, with the way between it and the registers of lanes.
struct Tile {
  float at[16][8];
  void load(void **brought) { each(brought, [](float &tile, float &c) { tile = c; }); }
  void store(void **brought) { each(brought, [](float &tile, float &c) { c = tile; }); }
  template <class F> void each(void **brought, F f) {
    for (int lane = 0; lane < 32; lane++) {
      float *c = static_cast<Fragments *>(brought[lane])->c;
      int g = lane / 4, t = lane % 4;
      f(at[g][2 * t], c[0]), f(at[g][2 * t + 1], c[1]), f(at[g + 8][2 * t], c[2]), f(at[g + 8][2 * t + 1], c[3]);
    }
  }
};

template <int K> void multiply(Tile &tile, const float (&a)[16][K], const float (&b)[K][8]) {
  for (int row = 0; row < 16; row++)
    for (int k = 0; k < K; k++)
      for (int col = 0; col < 8; col++) tile.at[row][col] += a[row][k] * b[k][col];
}

// All 32 lanes must be there: tensor cores read registers of all.
inline void complete(void **brought, const char *name) {
  for (int lane = 0; lane < 32; lane++)
    if (!brought[lane]) fail("%s without lane %d", name, lane);
}

inline void combine_bf16(void **brought, uint32_t) {
  complete(brought, "mma_bf16");
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; lane++) {
    auto f = static_cast<Fragments *>(brought[lane]);
    int g = lane / 4, k = lane % 4 * 2;
    a[g][k] = bf16_low(f->a[0]), a[g][k + 1] = bf16_high(f->a[0]);
    a[g + 8][k] = bf16_low(f->a[1]), a[g + 8][k + 1] = bf16_high(f->a[1]);
    a[g][k + 8] = bf16_low(f->a[2]), a[g][k + 9] = bf16_high(f->a[2]);
    a[g + 8][k + 8] = bf16_low(f->a[3]), a[g + 8][k + 9] = bf16_high(f->a[3]);
    b[k][g] = bf16_low(f->b[0]), b[k + 1][g] = bf16_high(f->b[0]);
    b[k + 8][g] = bf16_low(f->b[1]), b[k + 9][g] = bf16_high(f->b[1]);
  }
  Tile tile;
  tile.load(brought);
  multiply(tile, a, b);
  tile.store(brought);
}

inline void combine_tf32(void **brought, uint32_t) {
  complete(brought, "mma_tf32");
  auto tf32 = [](uint32_t r) { return bits<float>(r & 0xffffe000u); }; // the tensor core does not read the other bits
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; lane++) {
    auto f = static_cast<Fragments *>(brought[lane]);
    int g = lane / 4, t = lane % 4;
    a[g][t] = tf32(f->a[0]), a[g + 8][t] = tf32(f->a[1]), a[g][t + 4] = tf32(f->a[2]), a[g + 8][t + 4] = tf32(f->a[3]);
    b[t][g] = tf32(f->b[0]), b[t + 4][g] = tf32(f->b[1]);
  }
  Tile tile;
  tile.load(brought);
  multiply(tile, a, b);
  tile.store(brought);
}

struct MatrixRows {
  uint32_t *r;
  const unsigned char *row;
};

template <int N, bool Transposed> void combine_ldmatrix(void **brought, uint32_t) {
  complete(brought, "ldmatrix");
  uint16_t m[N * 8][8];
  for (int lane = 0; lane < N * 8; lane++) {
    auto row = static_cast<MatrixRows *>(brought[lane])->row;
    if (reinterpret_cast<uintptr_t>(row) % 16) fail("ldmatrix of lane %d reads %p, which is not aligned to 16 bytes", lane, static_cast<const void *>(row));
    std::memcpy(m[lane], row, 16);
  }
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < N; i++) {
      int g = lane / 4, t = lane % 4 * 2;
      uint32_t lo = Transposed ? m[i * 8 + t][g] : m[i * 8 + g][t];
      uint32_t hi = Transposed ? m[i * 8 + t + 1][g] : m[i * 8 + g][t + 1];
      static_cast<MatrixRows *>(brought[lane])->r[i] = lo | hi << 16;
    }
}

template <int N, bool Transposed> void ldmatrix(uint32_t (&r)[N], const void *row) {
  MatrixRows mine{r, static_cast<const unsigned char *>(row)};
  meet_warp(0xffffffffu, combine_ldmatrix<N, Transposed>, &mine, "ldmatrix");
}
} // namespace emulation

inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::Fragments mine{c, a, b};
  emulation::meet_warp(0xffffffffu, emulation::combine_bf16, &mine, "mma_bf16");
}
inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulation::Fragments mine{c, a, b};
  emulation::meet_warp(0xffffffffu, emulation::combine_tf32, &mine, "mma_tf32");
}

inline uint32_t to_tf32(float x) {
  uint32_t r = emulation::bits<uint32_t>(x);
  return std::isfinite(x) ? (r + 0x1000u) & 0xffffe000u : r;
}
inline uint32_t pack_bf16(float lo, float hi) {
  auto half = [](float x) { return static_cast<uint32_t>(__bfloat16_as_ushort(__float2bfloat16_rn(x))); };
  return half(lo) | half(hi) << 16;
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void *row) { emulation::ldmatrix<4, false>(r, row); }
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row) { emulation::ldmatrix<4, true>(r, row); }
inline void ldmatrix_x2(uint32_t (&r)[2], const void *row) { emulation::ldmatrix<2, false>(r, row); }
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void *row) { emulation::ldmatrix<2, true>(r, row); }

inline void copy_async(void *shared, const void *global, int bytes = 16) { emulation::start_copy({shared, global, 16, bytes, 0}); }
inline void copy_async4(void *shared, const void *global, int bytes = 4) { emulation::start_copy({shared, global, 4, bytes, 0}); }
inline void copy_commit() { emulation::commit_copies(); }
template <int N> void copy_wait() { emulation::wait_copies(N); }
