// What happens between the last backward and the next step: correctly rounded IEEE operations only, in the order of device.Update, so
// that every device gives the same bits.
#include "kernels.h"
#include "scalar.h"

#define TWO48 281474976710656.0

// fixed_of rounds y, of magnitude below 2^63 with at most 24 significant bits, to the nearest even integer. Vector units that have no
// conversion to 64 bits add in two halves: y = high*2^32 + low, where high is even in units of 1, so that ties fall the same way.
INLINE int64_t fixed_of(double y)
{
	double h = y * 0x1p-32 + ROUND_DOUBLE, low = y - (h - ROUND_DOUBLE) * 0x1p32;
	uint64_t high = (bits_of_double(h) - bits_of_double(ROUND_DOUBLE)) << 32;
	return (int64_t)(high + (bits_of_double(low + ROUND_DOUBLE) - bits_of_double(ROUND_DOUBLE)));
}

INLINE void cpu_to_fixed_body(cpu_lane *l, uintptr_t acc, uintptr_t x, int64_t n, float limit, uintptr_t bad)
{
	(void)l;
	uint64_t *sum = (uint64_t *)acc;
	const float *p = (const float *)x;
	int64_t nan = 0, kept = 0;
	uint64_t added = 0;
	ELEMENTWISE
	for (int64_t i = 0; i < n; i++) {
		float v = p[i], size = float_of(bits_of(v) & 0x7FFFFFFF);
		uint64_t ok = size < limit; // false for NaN
		uint64_t k = (uint64_t)fixed_of((double)v * TWO48) & -ok;
		sum[i] += k;
		added += k;
		kept += (int64_t)ok;
		nan += v != v;
	}
	((int64_t *)bad)[0] += nan;
	((int64_t *)bad)[1] += n - kept - nan;
	((uint64_t *)bad)[2] += added;
}
KERNEL_AS(void, , cpu_to_fixed, (cpu_lane * l, uintptr_t acc, uintptr_t x, int64_t n, float limit, uintptr_t bad), l, acc, x, n, limit,
	bad)

// double_of_fixed is the nearest double to k, like a cast: both halves are exact, and their sum is rounded once.
INLINE double double_of_fixed(int64_t k)
{
	uint64_t u = (uint64_t)k;
	double low = double_of((u & 0xFFFFFFFFull) | 0x4330000000000000ull) - 0x1p52;
	double high = double_of((u >> 32 ^ 0x80000000ull) | 0x4530000000000000ull) - (0x1p84 + 0x1p63);
	return high + low;
}

INLINE void cpu_from_fixed_body(cpu_lane *l, uintptr_t x, uintptr_t acc, int64_t n, double divisor)
{
	(void)l;
	float *d = (float *)x;
	const int64_t *p = (const int64_t *)acc;
	ELEMENTWISE
	for (int64_t i = 0; i < n; i++) d[i] = (float)(double_of_fixed(p[i]) / TWO48 / divisor);
}
KERNEL_AS(void, , cpu_from_fixed, (cpu_lane * l, uintptr_t x, uintptr_t acc, int64_t n, double divisor), l, x, acc, n, divisor)

enum { NORM_BLOCK = 4096, NORM_LANES = 256 };

INLINE double block_norm(const float *x, int64_t n)
{
	double lane[NORM_LANES] = {0};
	int64_t i = 0;
	for (; i + NORM_LANES <= n; i += NORM_LANES)
		for (int j = 0; j < NORM_LANES; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
	for (int j = 0; i + j < n; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
	for (int s = NORM_LANES / 2; s > 0; s /= 2)
		for (int j = 0; j < s; j++) lane[j] += lane[j + s];
	return lane[0];
}

INLINE int cpu_squared_norm_body(cpu_lane *l, double *sum, uintptr_t x, int64_t n)
{
	int64_t blocks = (n + NORM_BLOCK - 1) / NORM_BLOCK;
	*sum = 0;
	if (blocks == 0) return CPU_OK;
	size_t bytes = (size_t)blocks * sizeof(double);
	if (cpu_reserve(l, cpu_room(bytes))) return CPU_NO_MEMORY;
	double *s = cpu_take(l, bytes);
	for (int64_t b = 0; b < blocks; b++) {
		int64_t rest = n - b * NORM_BLOCK;
		s[b] = block_norm((const float *)x + b * NORM_BLOCK, rest < NORM_BLOCK ? rest : NORM_BLOCK);
	}
	for (; blocks > 1; blocks = (blocks + 1) / 2) {
		for (int64_t b = 0; b < blocks / 2; b++) s[b] = s[2 * b] + s[2 * b + 1];
		if (blocks % 2) s[blocks / 2] = s[blocks - 1]; // the odd one is carried
	}
	*sum = s[0];
	return CPU_OK;
}
KERNEL(cpu_squared_norm, (cpu_lane * l, double *sum, uintptr_t x, int64_t n), l, sum, x, n)
