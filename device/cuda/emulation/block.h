// One block of a launch: its threads, and how they wait for one another. There is one of them at a time, as the emulated device does
// one thing at a time.
#pragma once
#include <cstdint>
#include <vector_types.h>

namespace emulation {

struct Fiber;
struct Warp;

// A copy from global to shared memory that was started; it happens as late as its thread's waiting allows.
struct Copy {
  void *to;
  const void *from;
  int size, bytes; // of size bytes, those from `bytes` on become 0
  unsigned group;
};

struct Thread {
  uint3 index;
  unsigned linear, lane;
  Warp *warp;
  Fiber *fiber; // null until the thread begins
  bool done;
  const char *waits; // for what, if it waits
};

extern Thread *self; // the thread that runs; null between threads
extern uint3 block_index;
extern dim3 block_size, grid_size;

void *dynamic_shared();

// All threads of the block that have not returned meet; then all go on.
void meet_block();
// The same, and returns how many of them said yes.
int count_block(bool yes);

// The lanes of mask that have not returned meet; the last to come calls combine with what each brought (null for those that are not in mask or have
// returned), then all go on. What a lane brings may be on its stack.
using Combine = void (*)(void *brought[32], uint32_t mask);
void meet_warp(uint32_t mask, Combine combine, void *bring, const char *name);

// Asynchronous copies of the running thread.
void start_copy(const Copy &copy);
void commit_copies();
void wait_copies(unsigned newest);

// fail ends the kernel with a report.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A body is a kernel with its arguments.
struct Body {
  void (*call)(void *arguments);
  void *arguments;
};
// run_block runs the block block_index. Returns whether it ended well; if not, a report has been written.
bool run_block(Body body);
// begin_launch says what follows; shared is the size of dynamic shared memory.
void begin_launch(const char *kernel, dim3 grid, dim3 block, unsigned shared);
} // namespace emulation
