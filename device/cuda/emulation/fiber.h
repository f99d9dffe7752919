// Fibers: stacks to which one thread of the host switches, in about 2 ns. The switch is written for x86-64.
#pragma once
#include <cstddef>

namespace emulation {
struct Fiber {
  void *top; // where its registers are, while another runs
  Fiber *next;
};

// Stacks are this large, with a page behind each that nobody may touch.
constexpr size_t fiber_stack = 256 << 10;

// take_fiber returns a fiber that begins with `begin`, which never returns; or one that gave itself back and goes on from there.
Fiber *take_fiber(void (*begin)());
void give_back(Fiber *fiber);
// forget_fibers: those that were taken will not go on; a kernel has failed.
void forget_fibers();
} // namespace emulation

// emulation_switch keeps the caller's registers at *from and goes on with those at `to`.
extern "C" void emulation_switch(void **from, void *to);
