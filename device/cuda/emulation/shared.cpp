#include "shared.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "block.h"

namespace emulation {
// Shared memory ends at a page that nobody may touch, but for its alignment.
constexpr size_t page = 4096, most = 256 << 10, alignment = 128;
static char *memory;
static size_t bytes;

void begin_shared(unsigned size) {
  if (!memory) {
    memory = static_cast<char *>(mmap(nullptr, most + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED || mprotect(memory + most, page, PROT_NONE)) {
      std::perror("emulation: shared memory");
      std::abort();
    }
  }
  bytes = (size + alignment - 1) / alignment * alignment;
}

void poison_shared() { std::memset(memory + most - bytes, 0xff, bytes); }

void *dynamic_shared() { return memory + most - bytes; }
} // namespace emulation
