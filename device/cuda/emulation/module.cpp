// Modules and launches. The kernels of the program are in this library, compiled for the host. A module is an image that nvcc made, in which a kernel's name must
// stand; or a shared library of kernels, which tests load from a file.
#include "driver.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <memory>

#include "configuration.h"
#include "fault.h"
#include "registry.h"

using namespace emulation;

struct CUfunc_st {
  Kernel *kernel;
  int most_dynamic = 48 << 10; // bytes of dynamic shared memory
};
struct CUmod_st {
  std::string image;
  void *library;
  std::vector<std::unique_ptr<CUfunc_st>> functions;
};

namespace emulation {
static Kernel *&first_kernel() {
  static Kernel *first;
  return first;
}
void add_kernel(Kernel *kernel) { kernel->next = first_kernel(), first_kernel() = kernel; }
Kernel *find_kernel(const char *name) {
  for (Kernel *k = first_kernel(); k; k = k->next)
    if (!std::strcmp(k->name, name)) return k;
  return nullptr;
}

// image_bytes is how long an image is: of a fat binary, which says so itself. 0 is no such image.
static size_t image_bytes(const void *image) {
  struct {
    uint32_t magic;
    uint16_t version, header;
    uint64_t body;
  } fat;
  std::memcpy(&fat, image, sizeof fat);
  return fat.magic == 0xba55ed50 ? fat.header + fat.body : 0;
}

bool fails(Context *context, const char *launch) {
  if (!context->launches_to_failure || --context->launches_to_failure > 0) return false;
  report("launch of %s fails, as RINGLEADER_EMULATION says", launch);
  return context->broken = CUDA_ERROR_UNKNOWN, true;
}

static CUresult add_module(Context *context, CUmodule *module, std::string image, void *library) {
  *module = new CUmod_st{std::move(image), library, {}};
  context->modules.insert(*module);
  return CUDA_SUCCESS;
}
} // namespace emulation

CUresult CUDAAPI cuModuleLoadData(CUmodule *module, const void *image) {
  Call call;
  if (call.refused) return call.refused;
  size_t bytes = image_bytes(image);
  if (!bytes) return report("cuModuleLoadData: the image is no fat binary"), CUDA_ERROR_INVALID_IMAGE;
  return add_module(call.context, module, std::string(static_cast<const char *>(image), bytes), nullptr);
}
CUresult CUDAAPI cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned, CUjit_option *, void **) { return cuModuleLoadData(module, image); }
CUresult CUDAAPI cuModuleLoadFatBinary(CUmodule *module, const void *image) { return cuModuleLoadData(module, image); }

CUresult CUDAAPI cuModuleLoad(CUmodule *module, const char *file) {
  Call call;
  if (call.refused) return call.refused;
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (!library) return report("cuModuleLoad: %s", dlerror()), CUDA_ERROR_FILE_NOT_FOUND;
  return add_module(call.context, module, "", library);
}

// Libraries stay: their kernels are in the registry.
CUresult CUDAAPI cuModuleUnload(CUmodule module) {
  Call call;
  if (!call.context || !call.context->modules.erase(module)) return CUDA_ERROR_INVALID_HANDLE;
  CUresult result = finish_all(call.context);
  delete module;
  return result;
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  Call call;
  if (call.refused) return call.refused;
  if (!call.context->modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
  Kernel *kernel = find_kernel(name);
  bool there = module->library || module->image.find(name) != std::string::npos;
  if (!kernel || !there) {
    report("kernel %s is not in %s", name, there ? "the emulation: is it older than the program?" : "this module");
    return CUDA_ERROR_NOT_FOUND;
  }
  module->functions.emplace_back(new CUfunc_st{kernel});
  return *function = module->functions.back().get(), CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  Call call;
  if (call.refused) return call.refused;
  int most;
  cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0);
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_SUCCESS; // preferences
  if (value < 0 || value > most) return CUDA_ERROR_INVALID_VALUE;
  return function->most_dynamic = value, CUDA_SUCCESS;
}
CUresult CUDAAPI cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return *value = static_cast<int>(function->kernel->most_threads), CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return *value = function->most_dynamic, CUDA_SUCCESS;
  default: return *value = 0, CUDA_SUCCESS;
  }
}
CUresult CUDAAPI cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, CUfunction, int, size_t) { return *n = 2, CUDA_SUCCESS; }

namespace emulation {
// run_grid runs all blocks of a launch.
static CUresult run_grid(const char *name, Body body, dim3 grid, dim3 block, unsigned shared) {
  begin_launch(name, grid, block, shared);
  set_in_kernel(true);
  bool good = true;
  size_t blocks = size_t(grid.x) * grid.y * grid.z;
  for (size_t i = 0; i < blocks && good; i++) {
    size_t at = configuration().blocks_reversed ? blocks - 1 - i : i;
    block_index = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y), static_cast<unsigned>(at / grid.x / grid.y)};
    good = run_block(body);
  }
  set_in_kernel(false);
  return good ? CUDA_SUCCESS : CUDA_ERROR_ILLEGAL_ADDRESS;
}

static const char *refusal(CUfunction f, dim3 grid, dim3 block, unsigned shared) {
  unsigned long long threads = 1ull * block.x * block.y * block.z;
  if (!threads || !grid.x || !grid.y || !grid.z) return "nothing to launch";
  if (threads > f->kernel->most_threads || block.z > 64) return "more threads than its __launch_bounds__ allow";
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) return "a grid that is too large";
  if (shared > static_cast<unsigned>(f->most_dynamic)) return "more dynamic shared memory than was asked for with cuFuncSetAttribute";
  return nullptr;
}
} // namespace emulation

CUresult CUDAAPI cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                CUstream stream, void **parameters, void **extra) {
  Call call;
  if (call.refused) return call.refused;
  dim3 grid(gx, gy, gz), block(bx, by, bz);
  const char *why = extra ? "arguments in `extra`, which is not emulated" : refusal(f, grid, block, shared);
  if (why) {
    report("launch of %s (%ux%ux%u blocks of %ux%ux%u threads, %u bytes): %s", f->kernel->name, gx, gy, gz, bx, by, bz, shared, why);
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (fails(call.context, f->kernel->name)) return call.context->broken;
  Kernel *kernel = f->kernel;
  std::shared_ptr<void> arguments(kernel->pack(parameters), kernel->drop);
  return submit(call.context, stream, [=] { return run_grid(kernel->name, {kernel->call, arguments.get()}, grid, block, shared); });
}
