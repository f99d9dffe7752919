// What every kernel includes first, and the only file that knows which compiler reads it: nvcc, or the host's compiler for
// the emulated device (../emulation).
//
// A kernel is one line that begins with
//
//	extern "C" __global__ void [__launch_bounds__(THREADS)] NAME(
//
// and is launched from Go alone. Each argument is a scalar or a pointer of at most 8 bytes.
#pragma once
#include <stdint.h>

#ifdef RINGLEADER_EMULATED
#include "../emulation/device.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// NAME is the block's dynamic shared memory as an array of TYPE, aligned to 128 bytes.
#define DYNAMIC_SHARED(type, name)                             \
  extern __shared__ __align__(128) unsigned char dynamic_shared[]; \
  type *name = reinterpret_cast<type *>(dynamic_shared)
#endif
