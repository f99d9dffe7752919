// The exact dense all-action loss. For rows r (tokens with positives; packed: u is rows x dim) with positives lo_r <= j < hi_r, and b = 1/temperature:
//
//   z_r  = log sum_n exp(b<u_r,w_n> + bias_n)       over the pool items that are not masked for the row's segment
//   loss = sum_r weight_r sum_j softplus(z_r - a_rj) with a_rj = b<u_r,v_j> + posbias_j
//
// Scores are computed 64 x 64 at a time, forward and again backward, and never kept: memory is O(tokens + items). Every sum is one thread's, in increasing
// order of items, rows or positives, a tensor core's in the order of its fragments, or a fixed tree: deterministic. With half, operands of products are rounded to
// bfloat16, and the products with the pool are made on tensor cores.
#include "softmax.cuh"
#include "tile.cuh"

// What the kernels over the pool share.
struct Pool {
  const float *bias;
  const uint32_t *mask;
  int64_t count;
  float b;
};

// biased is the score of item n for a row of a segment, -inf if it is masked or there is no such item.
__device__ __forceinline__ float biased(const Pool &p, float product, int64_t n, int32_t segment) {
  if (n >= p.count || (p.mask[segment * ((p.count + 31) / 32) + n / 32] >> (n % 32) & 1u)) return minus_infinity();
  return p.b * product + p.bias[n];
}

// most[r] and sum[r]: the largest score of the pool, and the sum of exp(score - most). A block of 256 threads takes 64 rows (grid ceil(rows/64)).
extern "C" __global__ void __launch_bounds__(256) loss_partition(float *most, float *sum, const float *u, int64_t rows, int64_t dim, const float *items, int64_t ldi,
    int64_t pool, const float *bias, const uint32_t *mask, const int32_t *segment, float b, int half) {
  __shared__ ProductMemory memory;
  __shared__ FloatTile exchange;
  Pool p{bias, mask, pool, b};
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t r0 = static_cast<int64_t>(blockIdx.x) * TILE;
  float c[4][4];
  ExpSums sums;
  begin(sums);
  for (int64_t n0 = 0; n0 < pool; n0 += TILE) {
    tile_product(c, memory, exchange, Operand{u, dim, 1, rows}, r0, Operand{items, ldi, 1, pool}, n0, dim, half != 0);
    for (int i = 0; i < 4; i++) {
      int64_t r = r0 + 4 * y + i;
      for (int j = 0; j < 4; j++) c[i][j] = r < rows ? biased(p, c[i][j], n0 + 4 * x + j, segment[r]) : minus_infinity();
      add_scores(sums, i, c[i]);
    }
  }
  for (int i = 0; i < 4; i++)
    if (x == 0 && r0 + 4 * y + i < rows) most[r0 + 4 * y + i] = sums.most[i], sum[r0 + 4 * y + i] = sums.sum[i];
}

__device__ __forceinline__ float dot_rows(const float *a, const float *b, int64_t d, bool half) {
  float s = 0;
#pragma unroll 4
  for (int64_t c = 0; c < d; c++) s = s + half_of(a[c], half) * half_of(b[c], half);
  return s;
}

// pull is weight*sigmoid(z - a), and term softplus(z - a).
__device__ __forceinline__ float pull(float x, float weight, float *term) {
  float e = exp_f(-__uint_as_float(__float_as_uint(x) & 0x7FFFFFFFu));
  *term = (x > 0.0f ? x : 0.0f) + log1p_f(e);
  return weight * ((x > 0.0f ? 1.0f : e) / (1.0f + e));
}

// The band of positives of a row, forward and backward: z[r]; factor[r] = (sum of weight*sigmoid)/sum, by which the pool's shares count; loss[r]; and
// du[r,:] = -b * sum of weight*sigmoid*v. A warp takes a row (grid ceil(rows/4)); positives come 32 at a time, one a lane.
extern "C" __global__ void __launch_bounds__(128) loss_band(float *z, float *factor, double *loss, float *du, const float *most, const float *sum, const float *u, int64_t rows,
    int64_t dim, const float *items, int64_t ldi, int64_t item_count, const int32_t *positive, const float *pos_bias, const int32_t *token, const int32_t *lo,
    const int32_t *hi, const float *weight, float b, int half, int32_t *bad) {
  int64_t r = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (r >= rows) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  float zr = static_cast<float>(static_cast<double>(most[r]) + log_d(static_cast<double>(sum[r]))), w = weight[token[r]], g = 0;
  if (sum[r] == 0) zr = minus_infinity();
  double total = 0;
  for (int64_t c = lane; c < dim; c += 32) du[r * dim + c] = 0;
  for (int32_t j0 = lo[r], end = hi[r]; j0 < end; j0 += 32) {
    int32_t j = j0 + lane, at = j < end ? positive[j] : 0;
    int count = end - j0 < 32 ? end - j0 : 32;
    float a = 0, term = 0;
    if (at < 0 || at >= item_count) *bad = 1, at = 0;
    if (j < end) a = pull(zr - (b * dot_rows(u + r * dim, items + at * ldi, dim, half) + pos_bias[j]), w, &term);
    g = g + warp_sum(a);
    total = total + warp_sum(static_cast<double>(term));
    a = half_of(a, half);
    for (int64_t c0 = 0; c0 < dim; c0 += 32) {
      int64_t c = c0 + lane < dim ? c0 + lane : dim - 1;
      float s = 0;
#pragma unroll 1
      for (int k = 0; k < count; k++) {
        float f = __shfl_sync(0xFFFFFFFFu, a, k);
        int32_t from = __shfl_sync(0xFFFFFFFFu, at, k);
        s = s + f * half_of(items[from * ldi + c], half);
      }
      if (c0 + lane < dim) du[r * dim + c] = du[r * dim + c] - b * s;
    }
  }
  if (lane == 0) z[r] = zr, factor[r] = sum[r] == 0 ? 0.0f : g / sum[r], loss[r] = static_cast<double>(w) * total;
}

// du[r,:] += b * factor[r] * sum over n of exp(score - most) * w_n. Grid (ceil(rows/64), ceil(dim/64)): a block's scores are computed for 64 columns of du.
extern "C" __global__ void __launch_bounds__(256) loss_users(float *du, const float *factor, const float *most, const float *u, int64_t rows, int64_t dim, const float *items,
    int64_t ldi, int64_t pool, const float *bias, const uint32_t *mask, const int32_t *segment, float b, int half) {
  __shared__ ChainMemory memory;
  Pool p{bias, mask, pool, b};
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t r0 = static_cast<int64_t>(blockIdx.x) * TILE, c0 = static_cast<int64_t>(blockIdx.y) * TILE;
  float s[4][4], c[4][4] = {};
  for (int64_t n0 = 0; n0 < pool; n0 += TILE) {
    tile_product(s, memory.product, memory.shares.whole, Operand{u, dim, 1, rows}, r0, Operand{items, ldi, 1, pool}, n0, dim, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64_t r = r0 + 4 * y + i;
        keep(memory.shares, i, j, r < rows ? share(biased(p, s[i][j], n0 + 4 * x + j, segment[r]), most[r], half != 0) : 0.0f, half != 0);
      }
    add_rows(c, memory, items, ldi, n0, pool, c0, dim, nullptr, half != 0);
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      Place at = place(i, j, half != 0);
      int64_t r = r0 + at.row, k = c0 + at.column;
      if (r < rows && k < dim) du[r * dim + k] = du[r * dim + k] + factor[r] * (b * c[i][j]);
    }
}

// dw[n,:] = b * sum over r of exp(score - most) * factor[r] * u_r, for the items of the pool. Grid (ceil(pool/64), ceil(dim/64)).
extern "C" __global__ void __launch_bounds__(256) loss_items(float *dw, int64_t ldw, const float *factor, const float *most, const float *u, int64_t rows, int64_t dim,
    const float *items, int64_t ldi, int64_t pool, const float *bias, const uint32_t *mask, const int32_t *segment, float b, int half) {
  __shared__ ChainMemory memory;
  Pool p{bias, mask, pool, b};
  int x = static_cast<int>(threadIdx.x) % 16, y = static_cast<int>(threadIdx.x) / 16;
  int64_t n0 = static_cast<int64_t>(blockIdx.x) * TILE, c0 = static_cast<int64_t>(blockIdx.y) * TILE;
  float s[4][4], c[4][4] = {};
  for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
    tile_product(s, memory.product, memory.shares.whole, Operand{items, ldi, 1, pool}, n0, Operand{u, dim, 1, rows}, r0, dim, half != 0);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64_t r = r0 + 4 * x + j;
        keep(memory.shares, i, j, r < rows ? share(biased(p, s[i][j], n0 + 4 * y + i, segment[r]), most[r], half != 0) : 0.0f, half != 0);
      }
    add_rows(c, memory, u, dim, r0, rows, c0, dim, factor, half != 0);
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      Place at = place(i, j, half != 0);
      int64_t n = n0 + at.row, k = c0 + at.column;
      if (n < pool && k < dim) dw[n * ldw + k] = b * c[i][j];
    }
}

// dv[j,:] = -b * sum of weight*sigmoid*u over the rows whose band has positive j: those of the ranges runs[2i] <= r < runs[2i+1], starts[j] <= i < starts[j+1].
// A warp takes a positive (grid ceil(positives/4)); rows come 32 at a time, one a lane. scatter_add brings dv to the items.
extern "C" __global__ void __launch_bounds__(128, 8) loss_positives(float *dv, int64_t positives, const float *z, const float *u, int64_t dim, const float *items, int64_t ldi,
    int64_t item_count, const int32_t *positive, const float *pos_bias, const int32_t *token, const int32_t *starts, const int32_t *runs, const float *weight, float b,
    int half) {
  int64_t j = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (j >= positives) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  int32_t at = positive[j];
  if (at < 0 || at >= item_count) at = 0; // scatter_add reports it
  for (int64_t c = lane; c < dim; c += 32) dv[j * dim + c] = 0;
  for (int32_t i = starts[j]; i < starts[j + 1]; i++)
    for (int32_t r0 = runs[2 * i], end = runs[2 * i + 1]; r0 < end; r0 += 32) {
      int64_t r = r0 + lane;
      float a = 0, term;
      int count = end - r0 < 32 ? end - r0 : 32;
      if (r < end) a = half_of(pull(z[r] - (b * dot_rows(u + r * dim, items + at * ldi, dim, half) + pos_bias[j]), weight[token[r]], &term), half);
      for (int64_t c0 = 0; c0 < dim; c0 += 32) {
        int64_t c = c0 + lane < dim ? c0 + lane : dim - 1;
        float s = 0;
#pragma unroll 1
        for (int k = 0; k < count; k++) s = s + __shfl_sync(0xFFFFFFFFu, a, k) * half_of(u[(r0 + k) * dim + c], half);
        if (c0 + lane < dim) dv[j * dim + c] = dv[j * dim + c] - b * s;
      }
    }
}

// dusers[token[r],:] = du[r,:] and tau[r] = -<u_r, du_r>. A warp takes a row; grid ceil(rows/4).
extern "C" __global__ void __launch_bounds__(128) loss_spread(float *dusers, int64_t ldd, double *tau, const float *du, const float *u, int64_t rows, int64_t dim,
    const int32_t *token) {
  int64_t r = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (r >= rows) return;
  int lane = static_cast<int>(threadIdx.x) % 32;
  double s = 0;
  for (int64_t c = lane; c < dim; c += 32) {
    float d = du[r * dim + c];
    dusers[token[r] * ldd + c] = d;
    s = s + static_cast<double>(u[r * dim + c]) * static_cast<double>(d);
  }
  s = warp_sum(s);
  if (lane == 0) tau[r] = -s;
}

// out[0] += sum of loss, out[1] += sum of tau. One block: thread l of 256 adds rows l, l+256, ..., and a fixed tree the threads.
extern "C" __global__ void __launch_bounds__(256) loss_sum(double *out, const double *loss, const double *tau, int64_t rows) {
  __shared__ double part[2][256];
  int l = static_cast<int>(threadIdx.x);
  double a = 0, t = 0;
  for (int64_t r = l; r < rows; r += 256) a = a + loss[r], t = t + tau[r];
  part[0][l] = a, part[1][l] = t;
  for (int d = 128; d > 0; d /= 2) {
    __syncthreads();
    if (l < d) part[0][l] = part[0][l] + part[0][l + d], part[1][l] = part[1][l] + part[1][l + d];
  }
  if (l == 0) out[0] = out[0] + part[0][0], out[1] = out[1] + part[1][0];
}
