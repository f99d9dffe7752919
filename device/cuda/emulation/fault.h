// Reports of what a program did wrong.
#pragma once
#include <cstddef>

namespace emulation {
// report writes a line to standard error.
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
// escape_with reports and leaves the kernel that runs.
[[noreturn]] void escape_with(const char *message);
// set_in_kernel says that this thread runs a kernel, so that its faults are the kernel's.
void set_in_kernel(bool yes);
// check_access leaves the kernel unless memory may be accessed.
void check_access(const void *address, size_t bytes, bool write);
} // namespace emulation
