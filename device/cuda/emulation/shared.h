// Dynamic shared memory of the running block.
#pragma once

namespace emulation {
// begin_shared makes room for a launch; poison_shared fills it, so that no block reads what an earlier one left.
void begin_shared(unsigned bytes);
void poison_shared();
} // namespace emulation
