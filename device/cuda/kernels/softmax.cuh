// Sums of exponentials, streamed tile by tile: what attention and the loss divide by.
#pragma once
#include "scalar.cuh"

// minus_infinity is the score of what does not count.
__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xFF800000u); }

// share is exp(score - most), 0 for what does not count.
__device__ __forceinline__ float share(float score, float most, bool half) { return score == minus_infinity() ? 0.0f : half_of(exp_f(score - most), half); }

// Of a thread's 4 rows of a tile: the largest score, and the sum of exp(score - most). The 16 threads of a row have the same.
struct ExpSums {
  float most[4], sum[4];
};

// begin: most is finite even before there is a score, so that its difference to itself is 0.
__device__ __forceinline__ void begin(ExpSums &s) {
#pragma unroll
  for (int i = 0; i < 4; i++) s.most[i] = -3.402823466e38f, s.sum[i] = 0;
}

// add_scores adds the thread's 4 scores of row i, and those of the 15 others: in a fixed tree. When a larger score comes, what was summed is scaled down.
__device__ __forceinline__ void add_scores(ExpSums &s, int i, const float (&score)[4]) {
  float largest = s.most[i], add = 0;
#pragma unroll
  for (int j = 0; j < 4; j++) largest = score[j] > largest ? score[j] : largest;
  for (int d = 8; d > 0; d /= 2) {
    float other = __shfl_xor_sync(0xFFFFFFFFu, largest, d, 16);
    largest = other > largest ? other : largest;
  }
#pragma unroll
  for (int j = 0; j < 4; j++) add = add + share(score[j], largest, false);
  for (int d = 8; d > 0; d /= 2) add = add + __shfl_xor_sync(0xFFFFFFFFu, add, d, 16);
  s.sum[i] = s.sum[i] * exp_f(s.most[i] - largest) + add;
  s.most[i] = largest;
}
