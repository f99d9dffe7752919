// Rows by index, and the encoding of time.
#include "kernels.h"
#include "scalar.h"

// in_range reports whether n indices are within 0..rows-1. An index is data, not shape, but a wrong one must not touch foreign memory.
INLINE int in_range(const int32_t *index, int64_t n, int64_t rows)
{
	int ok = 1;
	for (int64_t i = 0; i < n; i++) ok &= index[i] >= 0 && index[i] < rows;
	return ok;
}

INLINE void add_row(float *d, const float *s, int64_t n)
{
	ELEMENTWISE
	for (int64_t c = 0; c < n; c++) d[c] += s[c];
}

int cpu_gather(cpu_lane *l, cpu_mat dst, cpu_mat src, uintptr_t index)
{
	(void)l;
	const int32_t *at = (const int32_t *)index;
	if (!in_range(at, dst.rows, src.rows)) return CPU_BAD_INDEX;
	for (int64_t r = 0; r < dst.rows; r++) memcpy(row(dst, r), row(src, at[r]), (size_t)dst.cols * sizeof(float));
	return CPU_OK;
}

INLINE int cpu_gather_add_body(cpu_lane *l, cpu_mat dst, cpu_mat src, uintptr_t index)
{
	(void)l;
	const int32_t *at = (const int32_t *)index;
	if (!in_range(at, dst.rows, src.rows)) return CPU_BAD_INDEX;
	for (int64_t r = 0; r < dst.rows; r++) add_row(row(dst, r), row(src, at[r]), dst.cols);
	return CPU_OK;
}
KERNEL(cpu_gather_add, (cpu_lane * l, cpu_mat dst, cpu_mat src, uintptr_t index), l, dst, src, index)

INLINE int cpu_scatter_add_body(cpu_lane *l, cpu_mat dst, cpu_mat src, uintptr_t index)
{
	(void)l;
	const int32_t *at = (const int32_t *)index;
	if (!in_range(at, src.rows, dst.rows)) return CPU_BAD_INDEX;
	for (int64_t r = 0; r < src.rows; r++) add_row(row(dst, at[r]), row(src, r), src.cols);
	return CPU_OK;
}
KERNEL(cpu_scatter_add, (cpu_lane * l, cpu_mat dst, cpu_mat src, uintptr_t index), l, dst, src, index)

// Lane 2i is a cosine, lane 2i+1 a sine; with the cosine's quarter turn in its offset, both are sin(2 pi (t/period + offset)).
// quarter shifts all lanes: 0.25 gives the derivative.
INLINE void time_lanes(double *period, double *offset, int64_t count, const double *periods, const float *phases, double quarter)
{
	for (int64_t j = 0; j < 2 * count; j++) {
		period[j] = periods[j / 2];
		offset[j] = (double)phases[j] * 0.15915494309189533577 + (j % 2 ? 0 : 0.25) + quarter;
	}
}

INLINE double time_wave(double t, double period, double offset)
{
	double q = t / period;
	return sin_turns((q - round_even(q)) + offset);
}

INLINE int cpu_encode_time_body(cpu_lane *l, cpu_mat dst, uintptr_t times, int64_t count, uintptr_t periods, uintptr_t phases,
	float log_scale)
{
	size_t bytes = (size_t)(2 * count) * sizeof(double);
	if (cpu_reserve(l, 2 * cpu_room(bytes))) return CPU_NO_MEMORY;
	double *period = cpu_take(l, bytes), *offset = cpu_take(l, bytes);
	time_lanes(period, offset, count, (const double *)periods, (const float *)phases, 0);
	for (int64_t r = 0; r < dst.rows; r++) {
		float *d = row(dst, r);
		double t = (double)((const int64_t *)times)[r] / 1000.0;
		ELEMENTWISE
		for (int64_t j = 0; j < 2 * count; j++) d[j] = (float)time_wave(t, period[j], offset[j]);
		d[2 * count] = (float)((double)log_scale * log_d(1.0 + t));
	}
	return CPU_OK;
}
KERNEL(cpu_encode_time, (cpu_lane * l, cpu_mat dst, uintptr_t times, int64_t count, uintptr_t periods, uintptr_t phases,
	float log_scale), l, dst, times, count, periods, phases, log_scale)

INLINE int cpu_encode_time_backward_body(cpu_lane *l, uintptr_t dphases, cpu_mat dy, uintptr_t times, int64_t count,
	uintptr_t periods, uintptr_t phases)
{
	size_t bytes = (size_t)(2 * count) * sizeof(double);
	if (cpu_reserve(l, 3 * cpu_room(bytes))) return CPU_NO_MEMORY;
	double *period = cpu_take(l, bytes), *offset = cpu_take(l, bytes), *sum = cpu_take(l, bytes);
	time_lanes(period, offset, count, (const double *)periods, (const float *)phases, 0.25);
	memset(sum, 0, bytes);
	for (int64_t r = 0; r < dy.rows; r++) {
		const float *g = row(dy, r);
		double t = (double)((const int64_t *)times)[r] / 1000.0;
		ELEMENTWISE
		for (int64_t j = 0; j < 2 * count; j++) sum[j] += (double)g[j] * time_wave(t, period[j], offset[j]);
	}
	for (int64_t j = 0; j < 2 * count; j++) ((float *)dphases)[j] += (float)sum[j];
	return CPU_OK;
}
KERNEL(cpu_encode_time_backward, (cpu_lane * l, uintptr_t dphases, cpu_mat dy, uintptr_t times, int64_t count, uintptr_t periods,
	uintptr_t phases), l, dphases, dy, times, count, periods, phases)
