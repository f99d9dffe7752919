// What follows the product of a linear map. Element (r, c) of a matrix m is m[r*ldm + c]; a thread takes one element, grid (rows, ceil(cols/256)).
// Elements do not depend on one another: deterministic.
#include "scalar.cuh"

// y = y + bias.
extern "C" __global__ void __launch_bounds__(256) add_bias(float *y, int64_t ldy, int64_t cols, const float *bias) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) y[r * ldy + c] = y[r * ldy + c] + bias[c];
}

// y = drop(GELU(t)) and slope = drop(GELU'(t)), if it is wanted, of t = y + bias.
extern "C" __global__ void __launch_bounds__(256) gelu(float *y, int64_t ldy, float *slope, int64_t lds, int64_t cols, const float *bias, uint64_t key,
    uint32_t threshold, float keep) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c >= cols) return;
  float v = y[r * ldy + c] + bias[c], gauss = exp_f(-0.5f * v * v), cdf = normal_cdf(v, gauss);
  y[r * ldy + c] = dropped(v * cdf, key, threshold, keep, r * cols + c);
  if (slope) slope[r * lds + c] = dropped(cdf + v * (0.398942280f * gauss), key, threshold, keep, r * cols + c);
}

// y = residual + drop(y + bias).
extern "C" __global__ void __launch_bounds__(256) add_residual(float *y, int64_t ldy, const float *residual, int64_t ldr, int64_t cols, const float *bias,
    uint64_t key, uint32_t threshold, float keep) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) y[r * ldy + c] = residual[r * ldr + c] + dropped(y[r * ldy + c] + bias[c], key, threshold, keep, r * cols + c);
}

// y = y * s.
extern "C" __global__ void __launch_bounds__(256) scale_by(float *y, int64_t ldy, const float *s, int64_t lds, int64_t cols) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) y[r * ldy + c] = y[r * ldy + c] * s[r * lds + c];
}

// y = a + b.
extern "C" __global__ void __launch_bounds__(256) add(float *y, int64_t ldy, const float *a, int64_t lda, const float *b, int64_t ldb, int64_t cols) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) y[r * ldy + c] = a[r * lda + c] + b[r * ldb + c];
}

// y = drop(x).
extern "C" __global__ void __launch_bounds__(256) dropout(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t cols, uint64_t key, uint32_t threshold, float keep) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) y[r * ldy + c] = dropped(x[r * ldx + c], key, threshold, keep, r * cols + c);
}

// y = 0.
extern "C" __global__ void __launch_bounds__(256) clear(float *y, int64_t ldy, int64_t cols) {
  int64_t r = blockIdx.x, c = static_cast<int64_t>(blockIdx.y) * 256 + threadIdx.x;
  if (c < cols) y[r * ldy + c] = 0;
}

// to[c] += sum over rows of y[r][c]: 32 columns a block of 32 x 8 threads; thread (x, y) adds rows y, y+8, ... in float64, then the 8 sums are added in order.
extern "C" __global__ void __launch_bounds__(256) column_sums(float *to, const float *y, int64_t ldy, int64_t rows, int64_t cols) {
  __shared__ double part[8][32];
  int x = static_cast<int>(threadIdx.x) % 32, w = static_cast<int>(threadIdx.x) / 32;
  int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + x;
  double s = 0;
  for (int64_t r = w; c < cols && r < rows; r += 8) s = s + static_cast<double>(y[r * ldy + c]);
  part[w][x] = s;
  __syncthreads();
  if (w > 0 || c >= cols) return;
  for (int i = 1; i < 8; i++) s = s + part[i][x];
  to[c] = to[c] + static_cast<float>(s);
}
