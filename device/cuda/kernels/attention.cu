// Causal multi-head attention inside segments, no T x T in memory. qkv is T x 3H (q, k, v side by side; head h is columns h*d..h*d+d-1 of each),
// segments[s]..segments[s+1]-1 are the tokens of segment s, scores are scaled by 1/sqrt(d).
//
// A warp takes one token and head; grid (ceil(T/4), heads), blocks of 128 threads. Keys come 32 at a time, one a lane, so that a score is one
// lane's sum; then the lanes take columns l, l+32, ... of the result. Sums run in increasing token order: deterministic. Rows of up to 256 columns fit.
//
// With half, operands of products are rounded to bfloat16.
#include "scalar.cuh"

constexpr int MOST = 256, COLUMNS = MOST / 32;

struct Head {
  const float *q, *k, *v; // of token 0
  int64_t ld, d;
  float scale;
};

__device__ __forceinline__ Head head_of(const float *qkv, int64_t ld, int64_t width, int64_t heads) {
  int64_t d = width / heads, at = blockIdx.y * d;
  return Head{qkv + at, qkv + width + at, qkv + 2 * width + at, ld, d, 1.0f / __fsqrt_rn(static_cast<float>(d))};
}

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

__device__ __forceinline__ float dot(const float *a, const float *b, int64_t d, bool half) {
  float s = 0;
  for (int64_t c = 0; c < d; c++) s = s + half_of(a[c], half) * half_of(b[c], half);
  return s;
}

// lse[t*heads+h] is the log of the sum of exponentials. Streaming: when a larger score comes, what was summed is scaled down.
extern "C" __global__ void __launch_bounds__(128) attention(float *out, int64_t ldo, const float *qkv, int64_t ldq, float *lse, const int32_t *segments, int64_t count,
    int64_t tokens, int64_t width, int64_t heads, int half) {
  int64_t t = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (t >= tokens) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  Head h = head_of(qkv, ldq, width, heads);
  float o[COLUMNS] = {}, most = -3.402823466e38f, sum = 0;
  for (int64_t lo = segments[segment_of(segments, count, t)]; lo <= t; lo += 32) {
    int64_t j = lo + lane;
    float s = j <= t ? h.scale * dot(h.q + t * h.ld, h.k + j * h.ld, h.d, half) : -3.402823466e38f;
    float m = warp_max(s);
    m = m > most ? m : most;
    float p = j <= t ? exp_f(s - m) : 0.0f, f = exp_f(most - m);
    sum = sum * f + warp_sum(p);
    most = m;
    p = half_of(p, half);
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) o[i] = o[i] * f;
    for (int k = 0; k < 32 && lo + k <= t; k++) {
      float w = __shfl_sync(0xFFFFFFFFu, p, k);
#pragma unroll
      for (int i = 0; i < COLUMNS; i++)
        if (lane + 32 * i < h.d) o[i] = o[i] + w * half_of(h.v[(lo + k) * h.ld + lane + 32 * i], half);
    }
  }
#pragma unroll
  for (int i = 0; i < COLUMNS; i++)
    if (lane + 32 * i < h.d) out[t * ldo + blockIdx.y * h.d + lane + 32 * i] = o[i] / sum;
  if (lane == 0) lse[t * heads + blockIdx.y] = static_cast<float>(static_cast<double>(most) + log_d(static_cast<double>(sum)));
}

// mean[t*heads+h] = <dout_t, out_t> of the head; dq_t = scale * sum over j of p_tj * (<dout_t, v_j> - mean) * k_j.
extern "C" __global__ void __launch_bounds__(128) attention_backward_q(float *dqkv, int64_t ldd, float *mean, const float *dout, int64_t ldg, const float *out,
    int64_t ldo, const float *qkv, int64_t ldq, const float *lse, const int32_t *segments, int64_t count, int64_t tokens, int64_t width, int64_t heads, int half) {
  int64_t t = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (t >= tokens) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  Head h = head_of(qkv, ldq, width, heads);
  const float *g = dout + t * ldg + blockIdx.y * h.d, *y = out + t * ldo + blockIdx.y * h.d;
  float along = 0, dq[COLUMNS] = {}, z = lse[t * heads + blockIdx.y];
  for (int64_t c = lane; c < h.d; c += 32) along = along + g[c] * y[c];
  along = warp_sum(along);
  if (lane == 0) mean[t * heads + blockIdx.y] = along;
  for (int64_t lo = segments[segment_of(segments, count, t)]; lo <= t; lo += 32) {
    int64_t j = lo + lane;
    float ds = 0;
    if (j <= t) {
      float p = exp_f(h.scale * dot(h.q + t * h.ld, h.k + j * h.ld, h.d, half) - z);
      ds = half_of(h.scale * p * (dot(g, h.v + j * h.ld, h.d, half) - along), half);
    }
    for (int k = 0; k < 32 && lo + k <= t; k++) {
      float w = __shfl_sync(0xFFFFFFFFu, ds, k);
#pragma unroll
      for (int i = 0; i < COLUMNS; i++)
        if (lane + 32 * i < h.d) dq[i] = dq[i] + w * half_of(h.k[(lo + k) * h.ld + lane + 32 * i], half);
    }
  }
#pragma unroll
  for (int i = 0; i < COLUMNS; i++)
    if (lane + 32 * i < h.d) dqkv[t * ldd + blockIdx.y * h.d + lane + 32 * i] = dq[i];
}

// dk_t and dv_t: sums over the tokens i >= t of the segment. mean is attention_backward_q's.
extern "C" __global__ void __launch_bounds__(128) attention_backward_kv(float *dqkv, int64_t ldd, const float *mean, const float *dout, int64_t ldg, const float *qkv,
    int64_t ldq, const float *lse, const int32_t *segments, int64_t count, int64_t tokens, int64_t width, int64_t heads, int half) {
  int64_t t = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (t >= tokens) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  Head h = head_of(qkv, ldq, width, heads);
  const float *g = dout + blockIdx.y * h.d;
  float dk[COLUMNS] = {}, dv[COLUMNS] = {};
  int64_t end = segments[segment_of(segments, count, t) + 1];
  for (int64_t lo = t; lo < end; lo += 32) {
    int64_t i = lo + lane;
    float p = 0, ds = 0;
    if (i < end) {
      p = exp_f(h.scale * dot(h.q + i * h.ld, h.k + t * h.ld, h.d, half) - lse[i * heads + blockIdx.y]);
      ds = half_of(h.scale * p * (dot(g + i * ldg, h.v + t * h.ld, h.d, half) - mean[i * heads + blockIdx.y]), half);
      p = half_of(p, half);
    }
    for (int k = 0; k < 32 && lo + k < end; k++) {
      float w = __shfl_sync(0xFFFFFFFFu, ds, k), u = __shfl_sync(0xFFFFFFFFu, p, k);
#pragma unroll
      for (int c = 0; c < COLUMNS; c++)
        if (lane + 32 * c < h.d) {
          dk[c] = dk[c] + w * half_of(h.q[(lo + k) * h.ld + lane + 32 * c], half);
          dv[c] = dv[c] + u * half_of(g[(lo + k) * ldg + lane + 32 * c], half);
        }
    }
  }
  float *to = dqkv + t * ldd + blockIdx.y * h.d;
#pragma unroll
  for (int c = 0; c < COLUMNS; c++)
    if (lane + 32 * c < h.d) to[width + lane + 32 * c] = dk[c], to[2 * width + lane + 32 * c] = dv[c];
}
