// Causal multi-head attention inside segments, no T x T in memory. qkv is T x 3H (q, k, v side by side; head h is columns h*d..h*d+d-1 of each),
// segments[s]..segments[s+1]-1 are the tokens of segment s, scores are scaled by 1/sqrt(d).
//
// A block takes 64 tokens of a head (and 64 of its columns, where there are more) and goes over the others 64 at a time, tile by tile of their segments' triangle. Scores are made anew for each
// kernel: first the sum of exponentials, then what it divides. Sums run in increasing token order, or in that of a tensor core's fragments: deterministic.
//
// With half, operands of products are rounded to bfloat16, and products are made on tensor cores.
#include "softmax.cuh"
#include "tile.cuh"

// A block's head, and its columns from `from` on.
struct Head {
  const float *q, *k, *v; // of token 0
  int64_t ld, d, tokens, head, from;
  float scale;
};

__device__ __forceinline__ Head head_of(const float *qkv, int64_t ld, int64_t tokens, int64_t width, int64_t heads) {
  int64_t d = width / heads, parts = (d + TILE - 1) / TILE, head = blockIdx.y / parts, at = head * d;
  return Head{qkv + at, qkv + width + at, qkv + 2 * width + at, ld, d, tokens, head, blockIdx.y % parts * TILE, 1.0f / __fsqrt_rn(static_cast<float>(d))};
}

__device__ __forceinline__ Operand operand(const float *at, int64_t ld, const Head &h) { return Operand{at, ld, 1, h.tokens}; }

// segment_of is the last s with segments[s] <= t.
__device__ __forceinline__ int64_t segment_of(const int32_t *segments, int64_t count, int64_t t) {
  int64_t lo = 0, hi = count;
  while (hi - lo > 1) {
    int64_t mid = (lo + hi) / 2;
    if (segments[mid] <= t) lo = mid;
    else hi = mid;
  }
  return lo;
}

// find_edges finds where the segment of each of the block's 64 tokens begins, or, if ends, where it ends; a token that is not there sees nobody.
__device__ __forceinline__ void find_edges(int32_t (&edge)[TILE], const int32_t *segments, int64_t count, int64_t tokens, bool ends) {
  int64_t t = static_cast<int64_t>(blockIdx.x) * TILE + threadIdx.x;
  if (threadIdx.x < TILE) edge[threadIdx.x] = t < tokens ? segments[segment_of(segments, count, t) + (ends ? 1 : 0)] : ends ? 0 : 0x7FFFFFFF;
  __syncthreads();
}

// lse[t*heads+h] is the log of the sum of exponentials. Grid (ceil(tokens/64), heads).
extern "C" __global__ void __launch_bounds__(256, 2) attention_lse(float *lse, const float *qkv, int64_t ldq, const int32_t *segments, int64_t count, int64_t tokens,
    int64_t width, int64_t heads, int half) {
  __shared__ ProductMemory memory;
  __shared__ FloatTile exchange;
  __shared__ int32_t start[TILE];
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t d = width / heads, at = blockIdx.y * d, t0 = static_cast<int64_t>(blockIdx.x) * TILE;
  Head h{qkv + at, qkv + width + at, nullptr, ldq, d, tokens, blockIdx.y, 0, 1.0f / __fsqrt_rn(static_cast<float>(d))};
  find_edges(start, segments, count, tokens, false);
  float c[4][4];
  ExpSums sums;
  begin(sums);
  for (int64_t j0 = start[0] / TILE * TILE; j0 <= t0 && j0 < tokens; j0 += TILE) {
    tile_product(c, memory, exchange, operand(h.q, ldq, h), t0, operand(h.k, ldq, h), j0, d, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int64_t t = t0 + 4 * y + i;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64_t other = j0 + 4 * x + j;
        bool sees = other <= t && other >= start[4 * y + i];
        c[i][j] = sees ? h.scale * c[i][j] : minus_infinity();
      }
      add_scores(sums, i, c[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int64_t t = t0 + 4 * y + i;
    if (x == 0 && t < tokens) lse[t * heads + blockIdx.y] = static_cast<float>(static_cast<double>(sums.most[i]) + log_d(static_cast<double>(sums.sum[i])));
  }
}

// store writes a block's 64 x 64 sums to its tokens and columns.
__device__ __forceinline__ void store(float *to, int64_t ld, int64_t t0, const Head &h, const float (&c)[4][4], bool half) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      Place at = place(i, j, half);
      if (t0 + at.row < h.tokens && h.from + at.column < h.d) to[(t0 + at.row) * ld + h.head * h.d + h.from + at.column] = c[i][j];
    }
}

// out_t = sum over j of p_tj * v_j, where p_tj = exp(score - lse_t). Grid (ceil(tokens/64), heads * ceil(d/64)).
extern "C" __global__ void __launch_bounds__(256, 1) attention(float *out, int64_t ldo, const float *qkv, int64_t ldq, const float *lse, const int32_t *segments, int64_t count,
    int64_t tokens, int64_t width, int64_t heads, int half) {
  __shared__ ChainMemory memory;
  __shared__ int32_t start[TILE];
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t t0 = static_cast<int64_t>(blockIdx.x) * TILE;
  Head h = head_of(qkv, ldq, tokens, width, heads);
  find_edges(start, segments, count, tokens, false);
  float s[4][4], c[4][4] = {};
  for (int64_t j0 = start[0] / TILE * TILE; j0 <= t0 && j0 < tokens; j0 += TILE) {
    tile_product(s, memory.product, memory.shares.whole, operand(h.q, ldq, h), t0, operand(h.k, ldq, h), j0, h.d, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64_t t = t0 + 4 * y + i, other = j0 + 4 * x + j;
        bool sees = other <= t && other >= start[4 * y + i];
        keep(memory.shares, i, j, sees ? half_of(exp_f(h.scale * s[i][j] - lse[t * heads + h.head]), half != 0) : 0.0f, half != 0);
      }
    add_rows(c, memory, h.v, ldq, j0, tokens, h.from, h.d, nullptr, half != 0);
  }
  store(out, ldo, t0, h, c, half != 0);
}

// mean[t*heads+h] = <dout_t, out_t> of the head. A warp takes a token; grid (ceil(tokens/4), heads).
extern "C" __global__ void __launch_bounds__(128) attention_mean(float *mean, const float *dout, int64_t ldg, const float *out, int64_t ldo, int64_t tokens, int64_t width,
    int64_t heads) {
  int64_t t = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32, d = width / heads;
  if (t >= tokens) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  const float *g = dout + t * ldg + blockIdx.y * d, *o = out + t * ldo + blockIdx.y * d;
  float along = 0;
  for (int64_t c = lane; c < d; c += 32) along = along + g[c] * o[c];
  along = warp_sum(along);
  if (lane == 0) mean[t * heads + blockIdx.y] = along;
}

// dq_t = scale * sum over j of p_tj * (<dout_t, v_j> - mean_t) * k_j. Grid (ceil(tokens/64), heads * ceil(d/64)).
extern "C" __global__ void __launch_bounds__(256) attention_backward_q(float *dqkv, int64_t ldd, const float *mean, const float *dout, int64_t ldg, const float *qkv,
    int64_t ldq, const float *lse, const int32_t *segments, int64_t count, int64_t tokens, int64_t width, int64_t heads, int half) {
  __shared__ ChainMemory memory;
  __shared__ int32_t start[TILE];
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t t0 = static_cast<int64_t>(blockIdx.x) * TILE;
  Head h = head_of(qkv, ldq, tokens, width, heads);
  const float *g = dout + h.head * h.d;
  find_edges(start, segments, count, tokens, false);
  float s[4][4], along[4][4], c[4][4] = {};
  for (int64_t j0 = start[0] / TILE * TILE; j0 <= t0 && j0 < tokens; j0 += TILE) {
    tile_product(s, memory.product, memory.shares.whole, operand(h.q, ldq, h), t0, operand(h.k, ldq, h), j0, h.d, half != 0);
    tile_product(along, memory.product, memory.shares.whole, operand(g, ldg, h), t0, operand(h.v, ldq, h), j0, h.d, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64_t t = t0 + 4 * y + i, other = j0 + 4 * x + j, at = t * heads + h.head;
        bool sees = other <= t && other >= start[4 * y + i];
        keep(memory.shares, i, j, sees ? half_of(h.scale * exp_f(h.scale * s[i][j] - lse[at]) * (along[i][j] - mean[at]), half != 0) : 0.0f, half != 0);
      }
    add_rows(c, memory, h.k, ldq, j0, tokens, h.from, h.d, nullptr, half != 0);
  }
  store(dqkv, ldd, t0, h, c, half != 0);
}

// dv_t = sum over i of p_it * dout_i, and dk_t = scale * sum of p_it * (<dout_i, v_t> - mean_i) * q_i, over the tokens i >= t of the segment. Grid as above.
extern "C" __global__ void __launch_bounds__(256) attention_backward_kv(float *dqkv, int64_t ldd, const float *mean, const float *dout, int64_t ldg, const float *qkv,
    int64_t ldq, const float *lse, const int32_t *segments, int64_t count, int64_t tokens, int64_t width, int64_t heads, int half) {
  __shared__ ChainMemory memory;
  __shared__ int32_t end[TILE];
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t t0 = static_cast<int64_t>(blockIdx.x) * TILE, last = (t0 + TILE < tokens ? t0 + TILE : tokens) - t0 - 1;
  Head h = head_of(qkv, ldq, tokens, width, heads);
  const float *g = dout + h.head * h.d;
  find_edges(end, segments, count, tokens, true);
  float s[4][4], along[4][4], dk[4][4] = {}, dv[4][4] = {};
  for (int64_t i0 = t0; i0 < end[last]; i0 += TILE) {
    tile_product(s, memory.product, memory.shares.whole, operand(h.k, ldq, h), t0, operand(h.q, ldq, h), i0, h.d, half != 0);
    tile_product(along, memory.product, memory.shares.whole, operand(h.v, ldq, h), t0, operand(g, ldg, h), i0, h.d, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64_t t = t0 + 4 * y + i, other = i0 + 4 * x + j, at = other * heads + h.head;
        bool seen = other >= t && other < end[4 * y + i];
        float p = seen ? exp_f(h.scale * s[i][j] - lse[at]) : 0.0f;
        s[i][j] = seen ? half_of(h.scale * p * (along[i][j] - mean[at]), half != 0) : 0.0f;
        keep(memory.shares, i, j, half_of(p, half != 0), half != 0);
      }
    add_rows(dv, memory, g, ldg, i0, tokens, h.from, h.d, nullptr, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) keep(memory.shares, i, j, s[i][j], half != 0);
    add_rows(dk, memory, h.q, ldq, i0, tokens, h.from, h.d, nullptr, half != 0);
  }
  store(dqkv + width, ldd, t0, h, dk, half != 0);
  store(dqkv + 2 * width, ldd, t0, h, dv, half != 0);
}
