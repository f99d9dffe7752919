// The threads of a block as fibers. A thread runs until it waits or ends; then the next that can run does. A thread that never waits costs a
// call, not a switch: its fiber begins the next one.
#include "block.h"

#include <algorithm>
#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <vector>

#include "configuration.h"
#include "fault.h"
#include "fiber.h"
#include "shared.h"

namespace emulation {
Thread *self;
uint3 block_index;
dim3 block_size, grid_size;

// Lanes that meet with one mask.
struct Meeting {
  uint32_t mask, arrived;
  Combine combine;
  void *brought[32];
};

struct Warp {
  Thread *lanes[32];
  uint32_t live; // lanes that have not returned
  std::vector<Meeting> meetings;
};

static const char *kernel_name;
static std::vector<Thread> threads;
static std::vector<Warp> warps;
static std::vector<Thread *> ready; // a ring: each thread is in it at most once
static size_t head, waiting;
static unsigned live, at_barrier, yes_now, yes_before;
static std::vector<Copy> copies_of_block[1024];
static unsigned group_of[1024];
static Body body;
static void *main_top;
static jmp_buf escape;

static void make_ready(Thread *thread) {
  size_t at = head + waiting++;
  ready[at < ready.size() ? at : at - ready.size()] = thread;
}

static Thread *next_ready() {
  if (waiting == 0) return nullptr;
  Thread *thread = ready[head];
  head = head + 1 == ready.size() ? 0 : head + 1;
  waiting--;
  return thread;
}

// in_order calls f(i) for 0..n-1, or from the last to the first, as the order of threads is configured.
template <class F> static void in_order(unsigned n, F f) {
  bool reversed = configuration().threads_reversed;
  for (unsigned i = 0; i < n; i++) f(reversed ? n - 1 - i : i);
}

static void run_thread();

// go_on runs the next thread, or the main stack if there is none. It returns when somebody lets this one go on.
static void go_on(void **top) {
  Thread *thread = next_ready();
  self = thread;
  if (!thread) return emulation_switch(top, main_top);
  if (!thread->fiber) thread->fiber = take_fiber(run_thread);
  emulation_switch(top, thread->fiber->top);
}

static void wait(const char *what) {
  Thread *me = self;
  me->waits = what;
  go_on(&me->fiber->top);
  me->waits = nullptr;
}

static void open_barrier() {
  at_barrier = 0;
  yes_before = yes_now, yes_now = 0;
  in_order(threads.size(), [](unsigned i) {
    if (!threads[i].done) make_ready(&threads[i]);
  });
}

void meet_block() { count_block(false); }

int count_block(bool yes) {
  yes_now += yes;
  if (++at_barrier == live) open_barrier();
  wait("__syncthreads");
  return static_cast<int>(yes_before);
}

// hold lets the lanes of a meeting go on, except one that has not waited yet.
static void hold(Warp *warp, Meeting *meeting, Thread *last) {
  uint32_t came = meeting->arrived;
  meeting->combine(meeting->brought, meeting->mask);
  *meeting = warp->meetings.back();
  warp->meetings.pop_back();
  in_order(32, [&](unsigned lane) {
    if (came >> lane & 1 && warp->lanes[lane] != last) make_ready(warp->lanes[lane]);
  });
}

void meet_warp(uint32_t mask, Combine combine, void *bring, const char *name) {
  Warp *warp = self->warp;
  uint32_t me = 1u << self->lane;
  if (!(mask & me)) fail("%s with mask %08x, in which lane %u is not", name, mask, self->lane);
  auto &meetings = warp->meetings;
  auto meeting = std::find_if(meetings.begin(), meetings.end(), [&](const Meeting &m) { return m.mask & mask; });
  if (meeting == meetings.end()) {
    meetings.push_back({mask, 0, combine, {}});
    meeting = meetings.end() - 1;
  } else if (meeting->mask != mask || meeting->combine != combine) {
    fail("%s with mask %08x, while other lanes of the warp wait with mask %08x%s", name, mask, meeting->mask,
         meeting->mask == mask ? " for something else" : "");
  }
  meeting->arrived |= me;
  meeting->brought[self->lane] = bring;
  if ((mask & warp->live) == meeting->arrived) return hold(warp, &*meeting, self);
  wait(name);
}

// leave takes a thread that returned out of what others wait for.
static void leave(Thread *thread) {
  thread->done = true;
  copies_of_block[thread->linear].clear();
  Warp *warp = thread->warp;
  warp->live &= ~(1u << thread->lane);
  if (--live > 0 && at_barrier == live) open_barrier();
  for (size_t i = warp->meetings.size(); i-- > 0;)
    if ((warp->meetings[i].mask & warp->live) == warp->meetings[i].arrived) hold(warp, &warp->meetings[i], thread);
}

static void run_thread() {
  for (;;) {
    body.call(body.arguments);
    Fiber *fiber = self->fiber;
    leave(self);
    Thread *thread = next_ready();
    self = thread;
    if (thread && !thread->fiber) {
      thread->fiber = fiber;
      continue;
    }
    give_back(fiber);
    emulation_switch(&fiber->top, thread ? thread->fiber->top : main_top);
  }
}

void start_copy(const Copy &copy) {
  auto misaligned = (reinterpret_cast<uintptr_t>(copy.to) | reinterpret_cast<uintptr_t>(copy.from)) % static_cast<unsigned>(copy.size);
  if (misaligned || copy.bytes < 0 || copy.bytes > copy.size)
    fail("asynchronous copy of %d of %d bytes from %p to %p: not aligned, or too many", copy.bytes, copy.size, copy.from, copy.to);
  copies_of_block[self->linear].push_back(copy);
  copies_of_block[self->linear].back().group = group_of[self->linear];
}

void commit_copies() { group_of[self->linear]++; }

void wait_copies(unsigned newest) {
  auto &copies = copies_of_block[self->linear];
  size_t done = 0;
  for (; done < copies.size() && copies[done].group + newest < group_of[self->linear]; done++) {
    const Copy &copy = copies[done];
    char data[16] = {};
    check_access(copy.from, static_cast<size_t>(copy.bytes), false);
    check_access(copy.to, static_cast<size_t>(copy.size), true);
    std::memcpy(data, copy.from, static_cast<size_t>(copy.bytes));
    std::memcpy(copy.to, data, static_cast<size_t>(copy.size));
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<long>(done));
}

void fail(const char *format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  escape_with(message);
}

void escape_with(const char *message) {
  if (self)
    report("kernel %s, block (%u,%u,%u), thread (%u,%u,%u): %s", kernel_name, block_index.x, block_index.y, block_index.z, self->index.x,
           self->index.y, self->index.z, message);
  else
    report("kernel %s, block (%u,%u,%u): %s", kernel_name, block_index.x, block_index.y, block_index.z, message);
  longjmp(escape, 1);
}

void begin_launch(const char *kernel, dim3 grid, dim3 block, unsigned shared) {
  kernel_name = kernel, grid_size = grid, block_size = block;
  unsigned n = block.x * block.y * block.z;
  threads.assign(n, {});
  warps.assign((n + 31) / 32, {});
  ready.assign(n, nullptr);
  for (unsigned i = 0; i < n; i++) {
    uint3 index{i % block.x, i / block.x % block.y, i / block.x / block.y};
    threads[i] = {index, i, i % 32, &warps[i / 32], nullptr, false, nullptr};
    warps[i / 32].lanes[i % 32] = &threads[i];
  }
  begin_shared(shared);
}

static void begin_block() {
  unsigned n = static_cast<unsigned>(threads.size());
  head = waiting = at_barrier = yes_now = 0;
  live = n;
  std::fill_n(group_of, n, 0);
  for (auto &thread : threads) thread.fiber = nullptr, thread.done = false, thread.waits = nullptr;
  for (unsigned i = 0; i < warps.size(); i++) {
    unsigned lanes = std::min(32u, n - 32 * i);
    warps[i].live = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
    warps[i].meetings.clear();
  }
  poison_shared();
  in_order(n, [](unsigned i) { make_ready(&threads[i]); });
}

// stuck reports threads that wait for ever. The first of them is named.
static void stuck() {
  for (auto &thread : threads)
    if (!thread.done) {
      self = &thread;
      unsigned others = static_cast<unsigned>(std::count_if(threads.begin(), threads.end(), [](const Thread &t) { return !t.done; })) - 1;
      fail("waits for ever at %s, and so do %u others", thread.waits ? thread.waits : "its beginning", others);
    }
}

bool run_block(Body b) {
  body = b;
  begin_block();
  if (setjmp(escape)) {
    self = nullptr;
    for (auto &copies : copies_of_block) copies.clear();
    forget_fibers();
    return false;
  }
  go_on(&main_top);
  if (live > 0) stuck();
  return true;
}
} // namespace emulation
