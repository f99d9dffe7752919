// Kernels with defects, and without: what the emulated device must find, and must not.
#include "../../kernels/tensor.cuh"

// y = a*x.
extern "C" __global__ void __launch_bounds__(256) scale(float *y, const float *x, float a, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = __fmul_rn(a, x[i]);
}

// The same, which forgets that the last block is not full.
extern "C" __global__ void __launch_bounds__(256) scale_beyond(float *y, const float *x, float a) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = __fmul_rn(a, x[i]);
}

template <bool Barrier> __device__ void sum(float *y, const float *x) {
  __shared__ float part[256];
  int t = threadIdx.x;
  part[t] = x[blockIdx.x * 256 + t];
  for (int half = 128; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) part[t] += part[t + half];
    if (!Barrier) break;
  }
  if (!Barrier) // each thread reads what others wrote just now
    for (int half = 64; half > 0; half /= 2)
      if (t < half) part[t] += part[t + half];
  if (t == 0) y[blockIdx.x] = part[0];
}

// Sums of 256 elements each, in a tree; sum_unsynchronised lacks barriers between its levels.
extern "C" __global__ void __launch_bounds__(256) sum_tree(float *y, const float *x) { sum<true>(y, x); }
extern "C" __global__ void __launch_bounds__(256) sum_unsynchronised(float *y, const float *x) { sum<false>(y, x); }

// One sum of everything, in the order in which threads come.
extern "C" __global__ void __launch_bounds__(256) sum_atomic(float *y, const float *x) { atomicAdd(y, x[blockIdx.x * 256 + threadIdx.x]); }

// The sum of each warp, by shuffles.
extern "C" __global__ void __launch_bounds__(256) sum_warp(float *y, const float *x) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float v = x[i];
  for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(0xffffffffu, v, by);
  if (threadIdx.x % 32 == 0) y[i / 32] = v;
}

// Some lanes of a warp wait for the others, which wait for the whole block.
extern "C" __global__ void __launch_bounds__(64) wait_apart(float *y) {
  if (threadIdx.x < 16) __syncwarp();
  else __syncthreads();
  y[threadIdx.x] = 1;
}

// Reads shared memory behind what was asked for.
extern "C" __global__ void __launch_bounds__(32) read_shared_beyond(float *y) {
  DYNAMIC_SHARED(float, s);
  s[threadIdx.x] = 1;
  __syncwarp();
  y[threadIdx.x] = s[threadIdx.x + 32];
}

// Copies 4 elements each; copy_unwaited does not wait for them.
template <bool Wait> __device__ void copy4(float *y, const float *x) {
  __shared__ __align__(16) float s[128];
  int t = threadIdx.x;
  copy_async(s + 4 * t, x + 4 * t);
  copy_commit();
  if (Wait) copy_wait<0>();
  __syncwarp();
  for (int i = t; i < 128; i += 32) y[i] = s[i];
}
extern "C" __global__ void __launch_bounds__(32) copy_waited(float *y, const float *x) { copy4<true>(y, x); }
extern "C" __global__ void __launch_bounds__(32) copy_unwaited(float *y, const float *x) { copy4<false>(y, x); }

// c[16,8] = a[16,16] * b[8,16]^T in bf16, and of the first 8 columns in tf32 into d.
extern "C" __global__ void __launch_bounds__(32) products(float *c, float *d, const float *a, const float *b) {
  __shared__ __align__(16) __nv_bfloat16 rows[16 * 16], columns[8 * 16];
  int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32) rows[i] = __float2bfloat16_rn(a[i]);
  for (int i = lane; i < 128; i += 32) columns[i] = __float2bfloat16_rn(b[i]);
  __syncwarp();
  float sum[4] = {}, sum32[4] = {};
  uint32_t fa[4], fb[2];
  ldmatrix_x4(fa, rows + lane % 16 * 16 + lane / 16 * 8);
  ldmatrix_x2(fb, columns + lane % 8 * 16 + lane / 8 % 2 * 8);
  mma_bf16(sum, fa, fb);
  uint32_t ta[4] = {to_tf32(a[g * 16 + t]), to_tf32(a[(g + 8) * 16 + t]), to_tf32(a[g * 16 + t + 4]), to_tf32(a[(g + 8) * 16 + t + 4])};
  uint32_t tb[2] = {to_tf32(b[g * 16 + t]), to_tf32(b[g * 16 + t + 4])};
  mma_tf32(sum32, ta, tb);
  for (int i = 0; i < 4; i++) {
    int at = (g + i / 2 * 8) * 8 + 2 * t + i % 2;
    c[at] = sum[i], d[at] = sum32[i];
  }
}
