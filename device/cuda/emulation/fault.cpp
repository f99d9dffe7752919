#include "fault.h"

#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <pthread.h>
#include <ucontext.h>
#include <unistd.h>

#include "block.h"
#include "memory.h"

namespace emulation {
void report(const char *format, ...) {
  char line[700] = "emulation: ";
  size_t begin = std::strlen(line);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line + begin, sizeof line - begin - 1, format, arguments);
  va_end(arguments);
  std::strcat(line, "\n");
  (void)!write(STDERR_FILENO, line, std::strlen(line));
}

static thread_local bool in_kernel;
void set_in_kernel(bool yes) { in_kernel = yes; }

// A kernel touched a page that it may not: the kernel ends, not the process. Whoever runs on this thread beside kernels (Go) gets the
// signals that are theirs, as they put their handler before this one.
static void on_signal(int signal, siginfo_t *info, void *context) {
  if (!in_kernel) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    return; // and it happens again
  }
  pthread_sigmask(SIG_SETMASK, &static_cast<ucontext_t *>(context)->uc_sigmask, nullptr);
  if (signal == SIGFPE) escape_with("divides an integer by 0");
  bool write = static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_ERR] & 2;
  auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  char message[256];
  std::snprintf(message, sizeof message, "%s %p: %s", write ? "writes" : "reads", info->si_addr, describe(address));
  escape_with(message);
}

// Before Go's runtime, which passes on what happens in C.
__attribute__((constructor)) static void catch_signals() {
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE}) {
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(signal, &action, nullptr);
  }
}

void check_access(const void *address, size_t bytes, bool write) {
  auto a = holding(reinterpret_cast<uintptr_t>(address));
  bool inside = a && reinterpret_cast<uintptr_t>(address) <= a->address + a->bytes + 255; // else it is not memory of the device, but shared memory or a stack
  if (bytes && inside && (a->freed || reinterpret_cast<uintptr_t>(address) + bytes > a->address + a->bytes))
    fail("%s %zu bytes at %p: %s", write ? "writes" : "reads", bytes, address, describe(reinterpret_cast<uintptr_t>(address)));
}
} // namespace emulation
