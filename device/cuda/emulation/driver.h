// What is behind the handles of the driver API. All of it is used with the lock of the device held.
#pragma once
#include <condition_variable>
#include <cuda.h>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace emulation {
struct Stream;

// Work of a stream. It returns false if it failed, which is for ever.
using Work = std::function<CUresult()>;

struct Context {
  CUdevice device;
  bool primary;
  int uses; // of a primary context
  CUresult broken = CUDA_SUCCESS; // once something failed on the device, everything does
  long launches_to_failure = 0;   // 0: none
  std::set<CUstream> streams;
  std::set<CUevent> events;
  std::set<CUmodule> modules;
};

// The lock of the device: recursive, and fair. A thread that launches kernels in a loop must not keep the others out, as a mutex lets it.
class DeviceLock {
public:
  void lock();
  void unlock();

private:
  std::mutex guard;
  std::condition_variable turn;
  unsigned long long next = 0, serving = 0; // tickets
  std::thread::id owner;
  unsigned depth = 0; // how often the owner has locked it
};
DeviceLock &device_lock();

// current is the context of the calling thread, or null.
Context *current();

// Call is how each entry point of the API begins: it takes the lock and finds the context.
class Call {
public:
  explicit Call(bool needs_context = true);
  Context *context;
  CUresult refused; // CUDA_SUCCESS, or why the call cannot be made
private:
  std::lock_guard<DeviceLock> guard;
};

// submit adds work to a stream; if work is not late, it happens before submit returns.
CUresult submit(Context *context, CUstream stream, Work work);
// finish does all work of a stream, or all of a context; step does one piece, and tells whether there was any.
CUresult finish(Context *context, CUstream stream);
CUresult finish_all(Context *context);
// fails counts a launch, and tells whether the configuration wants the device to be lost with it.
bool fails(Context *context, const char *launch);
} // namespace emulation

// CUDA's opaque types.
struct CUctx_st : emulation::Context {};
struct CUstream_st {
  emulation::Context *context;
  unsigned flags;
  int priority;
  std::deque<emulation::Work> work;
  unsigned long long issued = 0, done = 0; // pieces of work
};
struct CUevent_st {
  emulation::Context *context;
  CUstream stream = nullptr;
  unsigned long long at = 0; // done when its stream has done so many
  double seconds = 0;        // when that was
};
