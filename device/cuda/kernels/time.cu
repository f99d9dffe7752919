// Encodings of times (docs/model.md section 1). The phase of t within a period is reduced in float64; lane 2i is a cosine, lane 2i+1 a sine.
#include "scalar.cuh"

// wave is lane j at t seconds; quarter turns all lanes: 0.25 gives the derivative.
__device__ __forceinline__ double wave(double t, int64_t j, const double *periods, const float *phases, double quarter) {
  double q = t / periods[j / 2], offset = static_cast<double>(phases[j]) * 0.15915494309189533577 + (j % 2 ? 0 : 0.25) + quarter;
  return sin_turns((q - round_even(q)) + offset);
}

// dst is rows x (2*count+1); grid (rows, ceil((2*count+1)/128)), a thread takes one element.
extern "C" __global__ void __launch_bounds__(128) encode_time(float *dst, int64_t ldd, const int64_t *times, int64_t count, const double *periods, const float *phases,
    float log_scale) {
  int64_t r = blockIdx.x, j = static_cast<int64_t>(blockIdx.y) * 128 + threadIdx.x;
  double t = static_cast<double>(times[r]) / 1000.0;
  if (j < 2 * count) dst[r * ldd + j] = static_cast<float>(wave(t, j, periods, phases, 0));
  if (j == 2 * count) dst[r * ldd + j] = static_cast<float>(static_cast<double>(log_scale) * log_d(1.0 + t));
}

// dphases[j] += sum over rows: a block of 128 threads takes a lane j (grid: 2*count); thread l adds rows l, l+128, ... in float64, and a fixed tree the threads.
extern "C" __global__ void __launch_bounds__(128) encode_time_backward(float *dphases, const float *dy, int64_t lddy, int64_t rows, const int64_t *times,
    const double *periods, const float *phases) {
  __shared__ double part[128];
  int l = static_cast<int>(threadIdx.x);
  double s = 0;
  for (int64_t r = l; r < rows; r += 128)
    s = s + static_cast<double>(dy[r * lddy + blockIdx.x]) * wave(static_cast<double>(times[r]) / 1000.0, blockIdx.x, periods, phases, 0.25);
  part[l] = s;
  for (int d = 64; d > 0; d /= 2) {
    __syncthreads();
    if (l < d) part[l] = part[l] + part[l + d];
  }
  if (l == 0) dphases[blockIdx.x] = dphases[blockIdx.x] + static_cast<float>(part[0]);
}
