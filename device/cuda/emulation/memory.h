// Memory of the emulated devices. Each allocation ends at a page that nobody may touch, as exactly as 256 bytes of alignment allow, and
// begins behind one; what is in between is filled with poison and looked at when the memory is freed. Addresses are not used
// again: memory that was freed can never be touched.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulation {
struct Allocation {
  uintptr_t address;
  size_t bytes;
  void *owner;      // context
  bool host, freed; // pinned memory of the host
};

// allocate returns 0 if there is no room. Its bytes are poison: NaN, or -1.
uintptr_t allocate(void *owner, size_t bytes, bool host);
// release returns false if nothing was allocated at an address, or what lies around it was overwritten; reported.
bool release(uintptr_t address, bool host);

// holding finds the allocation that an address is in, or just behind, or was in; or null.
const Allocation *holding(uintptr_t address);
// within tells whether all of a range is in one live allocation of a device (of the host); if not, that is reported.
bool within(uintptr_t address, size_t bytes, const char *what);
bool pinned(const void *address);
// describe says where an address is, for a report.
const char *describe(uintptr_t address);

// used is how much device memory a context has.
size_t used(void *owner);
// drop_all frees what a context still has, and returns how many allocations those were, reporting them.
int drop_all(void *owner);
} // namespace emulation
