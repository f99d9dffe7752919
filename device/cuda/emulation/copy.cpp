// Allocation, copies and fills. Memory of the host that is not pinned is read before a copy returns, as CUDA does.
#include "driver.h"

#include <cstring>

#include "configuration.h"
#include "fault.h"
#include "memory.h"

using namespace emulation;

CUresult CUDAAPI cuMemAlloc(CUdeviceptr *address, size_t bytes) {
  Call call;
  if (call.refused) return call.refused;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (used(call.context) + bytes > configuration().memory) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = allocate(call.context, bytes, false);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

// Freeing waits for everything that may still use the memory.
CUresult CUDAAPI cuMemFree(CUdeviceptr address) {
  Call call;
  if (!call.context) return CUDA_ERROR_INVALID_CONTEXT;
  if (!address) return CUDA_SUCCESS;
  CUresult result = finish_all(call.context);
  if (!release(address, false)) return CUDA_ERROR_INVALID_VALUE;
  return result;
}

CUresult CUDAAPI cuMemGetInfo(size_t *free, size_t *total) {
  Call call;
  if (call.refused) return call.refused;
  *total = configuration().memory;
  return *free = *total - used(call.context), CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemGetAddressRange(CUdeviceptr *base, size_t *bytes, CUdeviceptr address) {
  Call call;
  if (call.refused) return call.refused;
  if (!within(address, 1, "question")) return CUDA_ERROR_INVALID_VALUE;
  auto a = holding(address);
  if (base) *base = a->address;
  if (bytes) *bytes = a->bytes;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostAlloc(void **address, size_t bytes, unsigned) {
  Call call;
  if (call.refused) return call.refused;
  *address = reinterpret_cast<void *>(allocate(call.context, bytes, true));
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult CUDAAPI cuMemAllocHost(void **address, size_t bytes) { return cuMemHostAlloc(address, bytes, 0); }

CUresult CUDAAPI cuMemFreeHost(void *address) {
  Call call;
  if (!call.context) return CUDA_ERROR_INVALID_CONTEXT;
  CUresult result = finish_all(call.context);
  return release(reinterpret_cast<uintptr_t>(address), true) ? result : CUDA_ERROR_INVALID_VALUE;
}

static CUresult copy_now(void *to, const void *from, size_t bytes) {
  std::memmove(to, from, bytes);
  return CUDA_SUCCESS;
}

static void *pointer(CUdeviceptr address) { return reinterpret_cast<void *>(address); }

CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  if (!within(to, bytes, "copy to the device")) return CUDA_ERROR_INVALID_VALUE;
  if (pinned(from)) {
    if (!within(reinterpret_cast<uintptr_t>(from), bytes, "copy to the device")) return CUDA_ERROR_INVALID_VALUE;
    return submit(call.context, stream, [=] { return copy_now(pointer(to), from, bytes); });
  }
  auto begin = static_cast<const char *>(from);
  std::vector<char> staged(begin, begin + bytes);
  return submit(call.context, stream, [=] { return copy_now(pointer(to), staged.data(), bytes); });
}

CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  if (!within(from, bytes, "copy from the device")) return CUDA_ERROR_INVALID_VALUE;
  bool late = pinned(to);
  if (late && !within(reinterpret_cast<uintptr_t>(to), bytes, "copy from the device")) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = submit(call.context, stream, [=] { return copy_now(to, pointer(from), bytes); });
  return result || late ? result : finish(call.context, stream);
}

CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  if (!within(from, bytes, "copy") || !within(to, bytes, "copy")) return CUDA_ERROR_INVALID_VALUE;
  return submit(call.context, stream, [=] { return copy_now(pointer(to), pointer(from), bytes); });
}

// Without a stream, in the default stream.
CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) { return cuMemcpyHtoDAsync(to, from, bytes, nullptr); }
CUresult CUDAAPI cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) { return cuMemcpyDtoHAsync(to, from, bytes, nullptr); }
CUresult CUDAAPI cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return cuMemcpyDtoDAsync(to, from, bytes, nullptr); }

template <class T> static CUresult fill(CUdeviceptr to, T value, size_t n, CUstream stream) {
  Call call;
  if (call.refused) return call.refused;
  if (to % sizeof(T) || !within(to, n * sizeof(T), "fill")) return CUDA_ERROR_INVALID_VALUE;
  return submit(call.context, stream, [=] {
    std::fill_n(static_cast<T *>(pointer(to)), n, value);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char x, size_t n, CUstream stream) { return fill(to, x, n, stream); }
CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr to, unsigned short x, size_t n, CUstream stream) { return fill(to, x, n, stream); }
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned x, size_t n, CUstream stream) { return fill(to, x, n, stream); }
CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char x, size_t n) { return fill<unsigned char>(to, x, n, nullptr); }
CUresult CUDAAPI cuMemsetD16(CUdeviceptr to, unsigned short x, size_t n) { return fill<unsigned short>(to, x, n, nullptr); }
CUresult CUDAAPI cuMemsetD32(CUdeviceptr to, unsigned x, size_t n) { return fill<unsigned>(to, x, n, nullptr); }
