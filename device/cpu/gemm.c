// Matrix products: what is the same whoever multiplies (onednn.c and primitive.c, or plain.c in a lean build).
#include "kernels.h"
#include "scalar.h"

#include <stdlib.h>

// room is memory of a slot, which grows and stays. The slot's last content is lost.
static void *room(cpu_lane *l, int slot, size_t bytes)
{
	if (bytes > l->slots[slot].size) {
		free(l->slots[slot].p);
		l->slots[slot].size = cpu_room(bytes + bytes / 2);
		l->slots[slot].p = cpu_memory(l->slots[slot].size);
		if (!l->slots[slot].p) l->slots[slot].size = 0;
	}
	return l->slots[slot].p;
}

// half_bits rounds to bfloat16, the upper half of a float, to nearest even; a NaN stays one.
INLINE uint32_t half_bits(float x)
{
	uint32_t b = bits_of(x), rounded = b + 0x7FFF + (b >> 16 & 1), nan = -(uint32_t)(x != x);
	return (((b | 0x400000) & nan) | (rounded & ~nan)) & 0xFFFF0000;
}

INLINE cpu_operand cpu_read_body(cpu_lane *l, int slot, cpu_mat m, int tidy)
{
	cpu_operand o = {m.addr, m.stride};
	int rounding = l->products == CPU_BFLOAT16 || l->products == CPU_BFLOAT16_NATIVE;
	if (m.rows == 0 || m.cols == 0 || (!rounding && !(tidy && m.stride != leading(m.stride)))) return o;
	o.ld = leading(m.cols);
	o.addr = (uintptr_t)room(l, slot, (size_t)(m.rows * o.ld) * cpu_operand_size(l));
	for (int64_t r = 0; o.addr && r < m.rows; r++) {
		const float *from = row(m, r);
		if (l->products == CPU_BFLOAT16_NATIVE) {
			uint16_t *to = (uint16_t *)o.addr + r * o.ld;
			ELEMENTWISE
			for (int64_t c = 0; c < m.cols; c++) to[c] = (uint16_t)(half_bits(from[c]) >> 16);
		} else if (rounding) {
			float *to = (float *)o.addr + r * o.ld;
			ELEMENTWISE
			for (int64_t c = 0; c < m.cols; c++) to[c] = float_of(half_bits(from[c]));
		} else {
			memcpy((float *)o.addr + r * o.ld, from, (size_t)m.cols * sizeof(float));
		}
	}
	return o;
}
KERNEL_AS(cpu_operand, return, cpu_read, (cpu_lane * l, int slot, cpu_mat m, int tidy), l, slot, m, tidy)

// cpu_blend: c = alpha*t + beta*c.
INLINE void cpu_blend_body(cpu_lane *l, float *c, int64_t ldc, const float *t, int64_t ldt, int64_t m, int64_t n, float alpha, float beta)
{
	(void)l;
	for (int64_t i = 0; i < m; i++) {
		float *to = c + i * ldc;
		const float *from = t + i * ldt;
		if (beta == 0) {
			ELEMENTWISE
			for (int64_t j = 0; j < n; j++) to[j] = alpha * from[j];
		} else {
			ELEMENTWISE
			for (int64_t j = 0; j < n; j++) to[j] = alpha * from[j] + beta * to[j];
		}
	}
}
KERNEL_AS(void, , cpu_blend, (cpu_lane * l, float *c, int64_t ldc, const float *t, int64_t ldt, int64_t m, int64_t n, float alpha,
	float beta), l, c, ldc, t, ldt, m, n, alpha, beta)

int cpu_gemm(cpu_lane *l, int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, cpu_operand a, cpu_operand b, float beta, float *c,
	int64_t ldc)
{
	if (m == 0 || n == 0) return CPU_OK;
	if (k == 0) {
		for (int64_t i = 0; i < m; i++)
			for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
		return CPU_OK;
	}
	if (!a.addr || !b.addr) return CPU_NO_MEMORY;
	if (l->products == CPU_FLOAT32 || l->products == CPU_BFLOAT16)
		return cpu_sgemm(l, ta, tb, m, n, k, alpha, (const float *)a.addr, a.ld, (const float *)b.addr, b.ld, beta, c, ldc);
	cpu_shape shape = {l->products == CPU_BFLOAT16_NATIVE, ta, tb, beta != 0, m, n, k, a.ld, b.ld, ldc};
	if (alpha == 1 && (beta == 0 || beta == 1)) return cpu_product(l, &shape, (void *)a.addr, (void *)b.addr, c);
	shape.ldc = leading(n), shape.add = 0;
	float *t = room(l, CPU_SLOT_RESULT, (size_t)(m * shape.ldc) * sizeof(float));
	if (!t) return CPU_NO_MEMORY;
	int status = cpu_product(l, &shape, (void *)a.addr, (void *)b.addr, t);
	if (!status) cpu_blend(l, c, ldc, t, shape.ldc, m, n, alpha, beta);
	return status;
}
