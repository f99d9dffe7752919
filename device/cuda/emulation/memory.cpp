#include "memory.h"

#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <sys/mman.h>

#include "fault.h"

namespace emulation {
constexpr size_t page = 4096, alignment = 256, arena_bytes = size_t(1) << 40;
constexpr unsigned char poison = 0xff;

static uintptr_t arena_next, arena_end;
static std::map<uintptr_t, Allocation> allocations; // by address; those that were freed too
static std::map<void *, size_t> in_use;             // bytes of device memory, by owner

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
static size_t room(size_t bytes) { return round_up(bytes ? bytes : 1, alignment); }

// pages of an allocation: where they begin, and how much it is.
static uintptr_t first_page(const Allocation &a) { return a.address / page * page; }
static size_t page_bytes(const Allocation &a) { return a.address + room(a.bytes) - first_page(a); }

uintptr_t allocate(void *owner, size_t bytes, bool host) {
  if (!arena_next) {
    void *arena = mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) return 0;
    arena_next = reinterpret_cast<uintptr_t>(arena) + page;
    arena_end = arena_next - page + arena_bytes;
  }
  size_t pages = round_up(room(bytes), page);
  if (pages + page > arena_end - arena_next) return 0;
  uintptr_t start = arena_next;
  if (mprotect(reinterpret_cast<void *>(start), pages, PROT_READ | PROT_WRITE)) return 0;
  arena_next += pages + page;
  std::memset(reinterpret_cast<void *>(start), poison, pages);
  uintptr_t address = start + pages - room(bytes);
  allocations[address] = {address, bytes, owner, host, false};
  if (!host) in_use[owner] += room(bytes);
  return address;
}

// intact tells whether nobody wrote around an allocation, within its pages.
static bool intact(const Allocation &a) {
  auto byte = reinterpret_cast<const unsigned char *>(first_page(a));
  for (uintptr_t at = first_page(a); at < first_page(a) + page_bytes(a); at++, byte++) {
    bool inside = at >= a.address && at < a.address + a.bytes;
    if (!inside && *byte != poison) {
      report("memory was written at %p: %s", reinterpret_cast<const void *>(at), describe(at));
      return false;
    }
    if (at == a.address && a.bytes) at += a.bytes - 1, byte += a.bytes - 1;
  }
  return true;
}

static bool release(Allocation &a) {
  bool good = intact(a);
  a.freed = true;
  if (!a.host) in_use[a.owner] -= room(a.bytes);
  madvise(reinterpret_cast<void *>(first_page(a)), page_bytes(a), MADV_DONTNEED);
  mprotect(reinterpret_cast<void *>(first_page(a)), page_bytes(a), PROT_NONE);
  return good;
}

bool release(uintptr_t address, bool host) {
  auto found = allocations.find(address);
  if (found == allocations.end() || found->second.freed || found->second.host != host) {
    report("free of %p: %s", reinterpret_cast<void *>(address), describe(address));
    return false;
  }
  return release(found->second);
}

const Allocation *holding(uintptr_t address) {
  auto after = allocations.upper_bound(address);
  return after == allocations.begin() ? nullptr : &std::prev(after)->second;
}

bool within(uintptr_t address, size_t bytes, const char *what) {
  auto a = holding(address);
  if (bytes == 0 || (a && !a->freed && address + bytes <= a->address + a->bytes)) return true;
  report("%s of %zu bytes at %p: %s", what, bytes, reinterpret_cast<void *>(address), describe(address));
  return false;
}

bool pinned(const void *address) {
  auto a = holding(reinterpret_cast<uintptr_t>(address));
  return a && a->host && !a->freed && reinterpret_cast<uintptr_t>(address) < a->address + a->bytes;
}

const char *describe(uintptr_t address) {
  static char text[160];
  auto after = allocations.upper_bound(address);
  const Allocation *before = holding(address);
  const char *state = before && before->freed ? ", which was freed" : "";
  const char *kind = before && before->host ? "pinned host memory" : "device memory";
  if (before && address < before->address + before->bytes)
    std::snprintf(text, sizeof text, "byte %zu of %zu of %s%s", address - before->address, before->bytes, kind, state);
  else if (before && address < before->address + before->bytes + (1 << 20))
    std::snprintf(text, sizeof text, "%zu bytes behind the end of %zu of %s%s", address - before->address - before->bytes, before->bytes, kind, state);
  else if (after != allocations.end() && after->first - address < (1 << 20))
    std::snprintf(text, sizeof text, "%zu bytes before the begin of %zu of device memory", after->first - address, after->second.bytes);
  else
    std::snprintf(text, sizeof text, "no memory of the device");
  return text;
}

size_t used(void *owner) { return in_use[owner]; }

int drop_all(void *owner) {
  int n = 0;
  for (auto &[address, a] : allocations)
    if (!a.freed && a.owner == owner) {
      report("leak: %zu bytes of %s memory were never freed", a.bytes, a.host ? "pinned host" : "device");
      release(a);
      n++;
    }
  in_use.erase(owner);
  return n;
}
} // namespace emulation
