// From the last backward to the next step: correctly rounded IEEE operations only, in the order of device.Update, so that the bits are those of every other
// device. A thread takes one element, or as it is said; counts are integers, whose order does not matter.
#include "scalar.cuh"

constexpr double TWO48 = 281474976710656.0;

__device__ __forceinline__ int64_t element() { return static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x; }

// count adds what a block did not convert to bad[0] (NaN) and bad[1] (too large), and the sum of what it did, of which added is a thread's part, to bad[2]. All threads of the
// block call it.
__device__ __forceinline__ void count(int64_t *bad, int nan, int over, uint64_t added) {
  added = warp_sum(added);
  if (threadIdx.x % 32 == 0) atomicAdd(reinterpret_cast<unsigned long long *>(bad) + 2, static_cast<unsigned long long>(added));
  int nans = __syncthreads_count(nan), overs = __syncthreads_count(over);
  if (threadIdx.x > 0) return;
  if (nans) atomicAdd(reinterpret_cast<unsigned long long *>(bad), static_cast<unsigned long long>(nans));
  if (overs) atomicAdd(reinterpret_cast<unsigned long long *>(bad) + 1, static_cast<unsigned long long>(overs));
}

// acc += round(x * 2^48) where |x| < limit.
extern "C" __global__ void __launch_bounds__(256) to_fixed(int64_t *acc, const float *x, int64_t n, float limit, int64_t *bad) {
  int64_t i = element();
  float v = i < n ? x[i] : 0.0f;
  bool nan = v != v, over = !nan && (v >= limit || v <= -limit);
  uint64_t k = i < n && !nan && !over ? static_cast<uint64_t>(__double2ll_rn(__dmul_rn(static_cast<double>(v), TWO48))) : 0;
  if (i < n) acc[i] = static_cast<int64_t>(static_cast<uint64_t>(acc[i]) + k);
  count(bad, i < n && nan, i < n && over, k);
}

// x = float(acc / 2^48 / divisor).
extern "C" __global__ void __launch_bounds__(256) from_fixed(float *x, const int64_t *acc, int64_t n, double divisor) {
  int64_t i = element();
  if (i < n) x[i] = __double2float_rn(__ddiv_rn(__ddiv_rn(__ll2double_rn(acc[i]), TWO48), divisor));
}

// The exponent of each block of 256 elements becomes at least that of its largest magnitude. A block of threads takes a block of elements.
extern "C" __global__ void __launch_bounds__(256) raise_exponents(int8_t *exponents, const float *x, int64_t n) {
  __shared__ int32_t largest[8];
  int64_t i = element();
  int32_t size = i < n ? static_cast<int32_t>(__float_as_uint(x[i]) & 0x7FFFFFFFu) : 0;
  for (int d = 16; d > 0; d /= 2) {
    int32_t other = __shfl_xor_sync(0xFFFFFFFFu, size, d);
    size = other > size ? other : size;
  }
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = size;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int w = 1; w < 8; w++) size = largest[w] > size ? largest[w] : size;
  int32_t beyond = (size >> 23) - 126;
  beyond = beyond < -96 ? -96 : beyond > 96 ? 96 : beyond;
  if (beyond > exponents[blockIdx.x]) exponents[blockIdx.x] = static_cast<int8_t>(beyond);
}

// power is 2^e, for e within -1022..1023.
__device__ __forceinline__ double power(int e) { return __longlong_as_double(static_cast<long long>(e + 1023) << 52); }

template <class W, class U> __device__ __forceinline__ void to_blocks(W *acc, const float *x, int64_t n, const int8_t *exponents, int fraction, int64_t *bad) {
  int64_t i = element();
  float v = i < n ? x[i] : 0.0f;
  double y = static_cast<double>(v) * power(fraction - exponents[blockIdx.x]), limit = power(fraction) - 0.5; // both exact
  bool nan = v != v, over = !nan && (y >= limit || y <= -limit);
  uint64_t k = i < n && !nan && !over ? static_cast<uint64_t>(__double2ll_rn(y)) : 0;
  if (i < n) acc[i] = static_cast<W>(static_cast<U>(static_cast<U>(acc[i]) + static_cast<U>(k)));
  count(bad, i < n && nan, i < n && over, k);
}

// acc += round(x * 2^(fraction-exponent)). A block of threads takes a block of elements.
extern "C" __global__ void __launch_bounds__(256) to_blocks16(int16_t *acc, const float *x, int64_t n, const int8_t *exponents, int fraction, int64_t *bad) {
  to_blocks<int16_t, uint16_t>(acc, x, n, exponents, fraction, bad);
}
extern "C" __global__ void __launch_bounds__(256) to_blocks32(int32_t *acc, const float *x, int64_t n, const int8_t *exponents, int fraction, int64_t *bad) {
  to_blocks<int32_t, uint32_t>(acc, x, n, exponents, fraction, bad);
}

// x = float(acc * (2^(exponent-fraction) / divisor)).
extern "C" __global__ void __launch_bounds__(256) from_blocks16(float *x, const int16_t *acc, int64_t n, const int8_t *exponents, int fraction, double divisor) {
  int64_t i = element();
  if (i < n) x[i] = __double2float_rn(__dmul_rn(static_cast<double>(acc[i]), __ddiv_rn(power(exponents[blockIdx.x] - fraction), divisor)));
}
extern "C" __global__ void __launch_bounds__(256) from_blocks32(float *x, const int32_t *acc, int64_t n, const int8_t *exponents, int fraction, double divisor) {
  int64_t i = element();
  if (i < n) x[i] = __double2float_rn(__dmul_rn(static_cast<double>(acc[i]), __ddiv_rn(power(exponents[blockIdx.x] - fraction), divisor)));
}

// sums[b] is the sum of squares of the 4,096 elements of block b: lane l of 256 adds elements l, l+256, ...; lanes are added pairwise, l and l+s for s = 128, 64, ...
extern "C" __global__ void __launch_bounds__(256) squared_norm(double *sums, const float *x, int64_t n) {
  __shared__ double lane[256];
  int l = static_cast<int>(threadIdx.x);
  int64_t first = static_cast<int64_t>(blockIdx.x) * 4096;
  double s = 0;
  for (int64_t i = first + l; i < n && i < first + 4096; i += 256) s = __dadd_rn(s, __dmul_rn(static_cast<double>(x[i]), static_cast<double>(x[i])));
  lane[l] = s;
  for (int d = 128; d > 0; d /= 2) {
    __syncthreads();
    if (l < d) lane[l] = __dadd_rn(lane[l], lane[l + d]);
  }
  if (l == 0) sums[blockIdx.x] = lane[0];
}

// One level of the tree over blocks: to[b] = from[2b] + from[2b+1], where an odd last one is carried; n is the length of from.
extern "C" __global__ void __launch_bounds__(256) add_pairs(double *to, const double *from, int64_t n) {
  int64_t b = element();
  if (2 * b + 1 < n) to[b] = __dadd_rn(from[2 * b], from[2 * b + 1]);
  else if (2 * b < n) to[b] = from[2 * b];
}

// word_hash is exact.WordHash.
__device__ __forceinline__ uint64_t word_hash(uint32_t w, uint64_t i) {
  uint64_t x = (i + 1) * GOLDEN;
  uint64_t k = static_cast<uint64_t>(static_cast<uint32_t>(x)) * (x >> 32);
  return static_cast<uint64_t>(w ^ static_cast<uint32_t>(k)) * (k >> 32 | 1);
}
__device__ __forceinline__ uint64_t word_hash(float f, uint64_t i) { return word_hash(__float_as_uint(f), i); }

// add_hashes adds every thread's part to *sum. Integers: any order gives the same.
__device__ __forceinline__ void add_hashes(uint64_t *sum, uint64_t part) {
  part = warp_sum(part);
  if (threadIdx.x % 32 == 0) atomicAdd(reinterpret_cast<unsigned long long *>(sum), static_cast<unsigned long long>(part));
}

// *sum += the hashes of the words of x, the first of which has index first.
extern "C" __global__ void __launch_bounds__(256) hash(uint64_t *sum, const uint32_t *x, int64_t n, uint64_t first) {
  uint64_t s = 0;
  for (int64_t i = element(); i < n; i += static_cast<int64_t>(gridDim.x) * 256) s += word_hash(x[i], first + static_cast<uint64_t>(i));
  add_hashes(sum, s);
}

// m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*(g*g); p = p - lr*((m/c1) / (sqrt(v/c2) + eps) + decay*p), of g scaled. sums += the hashes of p, and of m and v, as they
// are written; p has the words from first on, m and v those size and 2*size further.
extern "C" __global__ void __launch_bounds__(256) adamw(float *p, float *m, float *v, const float *g, int64_t n, float lr, float beta1, float beta2, float eps, float decay,
    float correction1, float correction2, float scale, uint64_t *sums, uint64_t first, uint64_t size) {
  uint64_t params = 0, moments = 0;
  for (int64_t i = element(); i < n; i += static_cast<int64_t>(gridDim.x) * 256) {
    uint64_t word = first + static_cast<uint64_t>(i);
    float s = __fmul_rn(g[i], scale), x = p[i];
    float m1 = __fadd_rn(__fmul_rn(beta1, m[i]), __fmul_rn(__fsub_rn(1.0f, beta1), s));
    float v1 = __fadd_rn(__fmul_rn(beta2, v[i]), __fmul_rn(__fsub_rn(1.0f, beta2), __fmul_rn(s, s)));
    float ratio = __fdiv_rn(__fdiv_rn(m1, correction1), __fadd_rn(__fsqrt_rn(__fdiv_rn(v1, correction2)), eps));
    float y = __fsub_rn(x, __fmul_rn(lr, __fadd_rn(ratio, __fmul_rn(decay, x))));
    m[i] = m1, v[i] = v1, p[i] = y;
    params += word_hash(y, word), moments += word_hash(m1, word + size) + word_hash(v1, word + 2 * size);
  }
  add_hashes(sums, params), add_hashes(sums + 1, moments);
}
