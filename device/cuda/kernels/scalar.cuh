// Elementary functions, written with correctly rounded operations only (nvcc compiles with -fmad=false): the same bits on every GPU and on the
// emulated one, and the formulas of ../../cpu/scalar.h. NaN goes in and comes out.
#pragma once
#include "common.cuh"

// exp_f: relative error below 1.5e-7 for x in [-80, 0]; 0 below; not defined above 88.
__device__ __forceinline__ float exp_f(float x) {
  float c = x < -80.0f ? -80.0f : x;
  float t = c * 1.44269504f + 12582912.0f;
  float n = t - 12582912.0f;
  float r = c - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float w = r * r;
  float q = (0.5f + r * 0.166665770256f) + w * (0.0416665546621f + r * 8.36317307451e-3f + w * 1.39261761199e-3f);
  float y = 1.0f + (r + w * q);
  y = y * __uint_as_float((__float_as_uint(t) + 127u) << 23);
  return x < -80.0f ? 0.0f : y;
}

// log1p_f is log(1+e) for e in [0, 1].
__device__ __forceinline__ float log1p_f(float e) {
  float s = e / (2.0f + e), w = s * s;
  float q = 0.139825788726f + w * 0.140788891816f;
  q = 0.200122976154f + w * q;
  q = 0.333331608207f + w * q;
  q = 1.0f + w * q;
  return 2.0f * s * q;
}

// log_d: log(0) = -inf, of a negative number or NaN it is NaN. x must not be subnormal.
__device__ __forceinline__ double log_d(double x) {
  if (!(x > 0)) return __longlong_as_double(x == 0 ? 0xFFF0000000000000ll : 0x7FF8000000000000ll);
  if (x > 1.7976931348623157e308) return x;
  uint64_t bits = static_cast<uint64_t>(__double_as_longlong(x)), shift = bits - 0x3FE6A09E667F3BCDull;
  int64_t e = static_cast<int64_t>(shift) >> 52;
  double m = __longlong_as_double(static_cast<long long>(bits - (static_cast<uint64_t>(e) << 52)));
  double s = (m - 1.0) / (m + 1.0), w = s * s, q = 1.0 / 21;
  for (int k = 19; k >= 1; k -= 2) q = 1.0 / k + w * q;
  return static_cast<double>(e) * 0.69314718055994530942 + 2.0 * s * q;
}

// normal_cdf is (1 + erf(x/sqrt 2))/2, given gauss = exp(-x*x/2).
__device__ __forceinline__ float normal_cdf(float x, float gauss) {
  float z = __uint_as_float(__float_as_uint(x) & 0x7FFFFFFFu);
  float t = 1.0f / (1.0f + 0.212132034f * z);
  float t2 = t * t, t4 = t2 * t2;
  float q = (0.169175102608f + t * 0.170914156259f) + t2 * (0.147045419084f + t * 0.219567114848f);
  q = q + t4 * ((-0.104712141097f + t * 0.561246202175f) + t2 * (-0.523314656308f + t * 0.490571598079f) + t4 * -0.130492815547f);
  float tail = 0.5f * gauss * t * q;
  return x < 0.0f ? tail : 1.0f - tail;
}

__device__ __forceinline__ double round_even(double x) { return (x + 6755399441055744.0) - 6755399441055744.0; }

// sin_turns is sin(2 pi g), for |g| < 2^50: error below 1e-11.
__device__ __forceinline__ double sin_turns(double g) {
  g = g - round_even(g);
  double h = round_even(g * 2.0);
  double x = (g - 0.5 * h) * 6.28318530717958647692, w = x * x;
  double q = 1.0 / 6227020800.0 - w * (1.0 / 1307674368000.0);
  q = 1.0 / 39916800.0 - w * q;
  q = 1.0 / 362880.0 - w * q;
  q = 1.0 / 5040.0 - w * q;
  q = 1.0 / 120.0 - w * q;
  q = 1.0 / 6.0 - w * q;
  q = 1.0 - w * q;
  return x * q * (1.0 - 2.0 * h * h);
}

// mix is internal/counter.Mix.
__device__ __forceinline__ uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}
constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15ull;

// dropped is x or 0, by number i of the stream key; threshold 0 is no dropout.
__device__ __forceinline__ float dropped(float x, uint64_t key, uint32_t threshold, float keep, int64_t i) {
  if (threshold == 0) return x;
  uint32_t draw = static_cast<uint32_t>(mix(key + GOLDEN * (static_cast<uint64_t>(i) + 1)) >> 40);
  return draw >= threshold ? x / keep : 0.0f;
}

// half_of is x rounded to bfloat16, to nearest even, if half says so.
__device__ __forceinline__ float half_of(float x, bool half) {
  uint32_t b = __float_as_uint(x), rounded = (x != x ? b | 0x400000u : b + 0x7FFFu + (b >> 16 & 1u)) & 0xFFFF0000u;
  return __uint_as_float(half ? rounded : b);
}

// Sums over a warp, in a fixed tree: every lane gets the same.
template <class T> __device__ __forceinline__ T warp_sum(T x) {
  for (int d = 16; d > 0; d /= 2) x = x + __shfl_xor_sync(0xFFFFFFFFu, x, d);
  return x;
}
// warp_max passes over NaN.
__device__ __forceinline__ float warp_max(float x) {
  for (int d = 16; d > 0; d /= 2) {
    float y = __shfl_xor_sync(0xFFFFFFFFu, x, d);
    x = y > x || x != x ? y : x;
  }
  return x;
}
