#include "fiber.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#error "the emulated device runs on x86-64: others need a switch of their own here"
#endif

// What a call preserves: rbx, rbp, r12..r15 and the stack.
asm(R"(
.text
.globl emulation_switch
.type emulation_switch, @function
emulation_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
.size emulation_switch, .-emulation_switch
)");

namespace emulation {
static std::vector<Fiber *> all;
static Fiber *spare;
static void (*entry)();

static void start(Fiber *fiber) {
  // The stack lies below the Fiber itself. On entry, as behind a call: the stack is 8 off a multiple of 16.
  auto **sp = reinterpret_cast<void **>(reinterpret_cast<uintptr_t>(fiber) & ~uintptr_t(15));
  *--sp = nullptr;
  *--sp = reinterpret_cast<void *>(entry);
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  fiber->top = sp;
}

Fiber *take_fiber(void (*begin)()) {
  entry = begin;
  if (!spare) {
    constexpr size_t page = 4096;
    auto memory = static_cast<char *>(mmap(nullptr, fiber_stack + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE)) {
      std::perror("emulation: stack of a thread");
      std::abort();
    }
    spare = reinterpret_cast<Fiber *>(memory + page + fiber_stack - sizeof(Fiber));
    spare->next = nullptr;
    all.push_back(spare);
    start(spare);
  }
  Fiber *fiber = spare;
  spare = fiber->next;
  return fiber;
}

void give_back(Fiber *fiber) {
  fiber->next = spare;
  spare = fiber;
}

void forget_fibers() {
  spare = nullptr;
  for (Fiber *fiber : all) {
    start(fiber);
    give_back(fiber);
  }
}
} // namespace emulation
