// Normalisation of rows. A warp takes a row; its lanes take columns l, l+32, ..., and their sums are added in a fixed tree: deterministic.
// Blocks of 128 threads are 4 rows; grid ceil(rows/4).
#include "scalar.cuh"

__device__ __forceinline__ int64_t warp_row() { return static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32; }

// y = (x-mean)*rstd*gamma + beta.
extern "C" __global__ void __launch_bounds__(128) layer_norm(float *y, int64_t ldy, const float *x, int64_t ldx, int64_t rows, int64_t cols, const float *gamma,
    const float *beta, float *mean, float *rstd) {
  int64_t r = warp_row();
  if (r >= rows) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  const float *p = x + r * ldx;
  float s = 0, q = 0;
  for (int64_t c = lane; c < cols; c += 32) s = s + p[c];
  float m = warp_sum(s) / static_cast<float>(cols);
  for (int64_t c = lane; c < cols; c += 32) q = q + (p[c] - m) * (p[c] - m);
  float f = 1.0f / __fsqrt_rn(warp_sum(q) / static_cast<float>(cols) + 1e-5f);
  if (lane == 0) mean[r] = m, rstd[r] = f;
  for (int64_t c = lane; c < cols; c += 32) y[r * ldy + c] = (p[c] - m) * f * gamma[c] + beta[c];
}

// With h = (x-mean)*rstd and g = dy*gamma: dx += rstd*(g - mean(g) - h*mean(g*h)).
extern "C" __global__ void __launch_bounds__(128) layer_norm_backward(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *x, int64_t ldx,
    int64_t rows, int64_t cols, const float *gamma, const float *mean, const float *rstd) {
  int64_t r = warp_row();
  if (r >= rows) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  float m = mean[r], f = rstd[r], sg = 0, sgh = 0;
  for (int64_t c = lane; c < cols; c += 32) {
    float h = (x[r * ldx + c] - m) * f, g = dy[r * lddy + c] * gamma[c];
    sg = sg + g;
    sgh = sgh + g * h;
  }
  float mg = warp_sum(sg) / static_cast<float>(cols), mgh = warp_sum(sgh) / static_cast<float>(cols);
  for (int64_t c = lane; c < cols; c += 32) {
    float h = (x[r * ldx + c] - m) * f, g = dy[r * lddy + c] * gamma[c];
    dx[r * lddx + c] = dx[r * lddx + c] + f * (g - mg - h * mgh);
  }
}

// dgamma += sum dy*h, dbeta += sum dy: 32 columns a block of 32 x 8 threads, as column_sums does it. Grid ceil(cols/32).
extern "C" __global__ void __launch_bounds__(256) layer_norm_weights(float *dgamma, float *dbeta, const float *dy, int64_t lddy, const float *x, int64_t ldx,
    int64_t rows, int64_t cols, const float *mean, const float *rstd) {
  __shared__ double part[2][8][32];
  int l = static_cast<int>(threadIdx.x) % 32, w = static_cast<int>(threadIdx.x) / 32;
  int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + l;
  double g = 0, b = 0;
  for (int64_t r = w; c < cols && r < rows; r += 8) {
    float d = dy[r * lddy + c], h = (x[r * ldx + c] - mean[r]) * rstd[r];
    g = g + static_cast<double>(d * h);
    b = b + static_cast<double>(d);
  }
  part[0][w][l] = g, part[1][w][l] = b;
  __syncthreads();
  if (w > 0 || c >= cols) return;
  for (int i = 1; i < 8; i++) g = g + part[0][i][l], b = b + part[1][i][l];
  dgamma[c] = dgamma[c] + static_cast<float>(g);
  dbeta[c] = dbeta[c] + static_cast<float>(b);
}

// y = x/norm, norm = max(||x||, 1e-12).
extern "C" __global__ void __launch_bounds__(128) l2_norm(float *y, int64_t ldy, float *norm, const float *x, int64_t ldx, int64_t rows, int64_t cols) {
  int64_t r = warp_row();
  if (r >= rows) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  float q = 0;
  for (int64_t c = lane; c < cols; c += 32) q = q + x[r * ldx + c] * x[r * ldx + c];
  float s = __fsqrt_rn(warp_sum(q));
  s = s < 1e-12f ? 1e-12f : s; // a NaN stays one
  if (lane == 0) norm[r] = s;
  for (int64_t c = lane; c < cols; c += 32) y[r * ldy + c] = x[r * ldx + c] / s;
}

// dx = (dy - <dy,y>y)/norm; dx may be dy.
extern "C" __global__ void __launch_bounds__(128) l2_norm_backward(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *y, int64_t ldy,
    const float *norm, int64_t rows, int64_t cols) {
  int64_t r = warp_row();
  if (r >= rows) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  float q = 0;
  for (int64_t c = lane; c < cols; c += 32) q = q + dy[r * lddy + c] * y[r * ldy + c];
  float along = warp_sum(q);
  for (int64_t c = lane; c < cols; c += 32) dx[r * lddx + c] = (dy[r * lddy + c] - along * y[r * ldy + c]) / norm[r];
}
