// Devices and contexts.
#include "driver.h"

#include <cstring>
#include <memory>
#include <utility>

#include "configuration.h"
#include "fault.h"
#include "memory.h"

using namespace emulation;

namespace emulation {
static thread_local std::vector<Context *> stack; // the contexts of a thread; the last is current
static std::set<Context *> contexts;
static CUctx_st *primaries[16];
static bool initialised;

void DeviceLock::lock() {
  std::unique_lock<std::mutex> held(guard);
  if (depth && owner == std::this_thread::get_id()) {
    depth++;
    return;
  }
  auto mine = next++;
  turn.wait(held, [&] { return mine == serving; });
  owner = std::this_thread::get_id(), depth = 1;
}

void DeviceLock::unlock() {
  std::lock_guard<std::mutex> held(guard);
  if (--depth) return;
  serving++;
  turn.notify_all();
}

DeviceLock &device_lock() {
  static auto *lock = new DeviceLock; // never destroyed: threads may outlive main
  return *lock;
}

Context *current() { return stack.empty() || !contexts.count(stack.back()) ? nullptr : stack.back(); }

Call::Call(bool needs_context) : context(nullptr), refused(CUDA_SUCCESS), guard(device_lock()) {
  context = current();
  if (!initialised) refused = CUDA_ERROR_NOT_INITIALIZED;
  else if (context) refused = context->broken;
  else if (needs_context) refused = CUDA_ERROR_INVALID_CONTEXT;
}

static CUctx_st *make_context(CUdevice device, bool primary) {
  if (!read_configuration()) return nullptr;
  auto context = new CUctx_st;
  context->device = device, context->primary = primary, context->uses = 1;
  context->launches_to_failure = configuration().fail;
  contexts.insert(context);
  return context;
}

// What a program leaves behind in a context is a defect of it, which CUDA would not tell.
static CUresult destroy(Context *context) {
  CUresult result = finish_all(context);
  auto leaks = static_cast<size_t>(drop_all(context)) + context->streams.size() + context->events.size() + context->modules.size();
  if (leaks && !result)
    report("leak: a context was destroyed with %zu things in it (%zu streams, %zu events, %zu modules, the others memory)", leaks,
           context->streams.size(), context->events.size(), context->modules.size());
  for (auto stream : context->streams) delete stream;
  for (auto event : context->events) delete event;
  contexts.erase(context);
  delete static_cast<CUctx_st *>(context);
  return result ? result : leaks ? CUDA_ERROR_ILLEGAL_STATE : CUDA_SUCCESS;
}
} // namespace emulation

CUresult CUDAAPI cuInit(unsigned) {
  std::lock_guard<DeviceLock> guard(device_lock());
  if (!read_configuration()) return CUDA_ERROR_INVALID_VALUE;
  initialised = true;
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }

CUresult CUDAAPI cuDeviceGetCount(int *n) { return *n = configuration().devices, CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceGet(CUdevice *device, int i) {
  if (i < 0 || i >= configuration().devices) return CUDA_ERROR_INVALID_DEVICE;
  return *device = i, CUDA_SUCCESS;
}
CUresult CUDAAPI cuDeviceGetName(char *name, int size, CUdevice) { return std::snprintf(name, static_cast<size_t>(size), "Emulated GPU"), CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceTotalMem(size_t *bytes, CUdevice) { return *bytes = configuration().memory, CUDA_SUCCESS; }
CUresult CUDAAPI cuDeviceGetUuid(CUuuid *id, CUdevice device) {
  std::memset(id->bytes, 0xe0, sizeof id->bytes);
  return id->bytes[15] = static_cast<char>(device), CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return *value = configuration().major, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return *value = configuration().minor, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return *value = 4, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return *value = 32, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return *value = 1024, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return *value = 2048, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return *value = 48 << 10, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return *value = (configuration().major >= 9 ? 227 : 163) << 10, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return *value = (configuration().major >= 9 ? 228 : 164) << 10, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return *value = 50 << 20, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return *value = 1000000, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return *value = 1000000, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return *value = 64, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: return *value = 1, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return *value = 2, CUDA_SUCCESS;
  case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID: case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID: return *value = 0, CUDA_SUCCESS;
  default: report("cuDeviceGetAttribute: attribute %d is not emulated", static_cast<int>(attribute)); return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult CUDAAPI cuCtxCreate_v2(CUcontext *context, unsigned, CUdevice device) {
  Call call(false);
  if (call.refused == CUDA_ERROR_NOT_INITIALIZED) return call.refused;
  if (!(*context = make_context(device, false))) return CUDA_ERROR_INVALID_VALUE;
  stack.push_back(*context);
  return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxDestroy(CUcontext context) {
  Call call(false);
  if (!contexts.count(context) || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  if (!stack.empty() && stack.back() == context) stack.pop_back();
  return destroy(context);
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  Call call(false);
  if (call.refused == CUDA_ERROR_NOT_INITIALIZED) return call.refused;
  if (device < 0 || device >= configuration().devices) return CUDA_ERROR_INVALID_DEVICE;
  auto &primary = primaries[device];
  if (primary) primary->uses++;
  else primary = make_context(device, true);
  return (*context = primary) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
  Call call(false);
  if (device < 0 || device >= 16 || !primaries[device]) return CUDA_ERROR_INVALID_CONTEXT;
  if (--primaries[device]->uses > 0) return CUDA_SUCCESS;
  return destroy(std::exchange(primaries[device], nullptr));
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) {
  Call call(false);
  if (context && !contexts.count(context)) return CUDA_ERROR_INVALID_CONTEXT;
  if (!stack.empty()) stack.pop_back();
  if (context) stack.push_back(context);
  return CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
  Call call(false);
  if (!contexts.count(context)) return CUDA_ERROR_INVALID_CONTEXT;
  return stack.push_back(context), CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxPopCurrent(CUcontext *context) {
  Call call(false);
  if (!current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context) *context = static_cast<CUcontext>(stack.back());
  return stack.pop_back(), CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxGetCurrent(CUcontext *context) { return *context = static_cast<CUcontext>(current()), CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxGetDevice(CUdevice *device) {
  Call call;
  return call.context ? (*device = call.context->device, CUDA_SUCCESS) : CUDA_ERROR_INVALID_CONTEXT;
}
CUresult CUDAAPI cuCtxSynchronize() {
  Call call;
  return call.refused ? call.refused : finish_all(call.context);
}
