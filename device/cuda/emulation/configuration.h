// How the device is emulated: the environment variable RINGLEADER_EMULATION, read when a context is made. It is a list of
// settings, separated by commas:
//
//	blocks=reversed     the last block of a launch first; threads=reversed the same with threads
//	work=late           work of a stream happens when somebody waits for it, not before (the default is now: when it is issued)
//	memory=MIB          size of the device memory (default 4096)
//	devices=N           how many devices there are (default 1)
//	capability=N.M      compute capability (default 9.0)
//	fail=N              launch N from now, and every call after it, fails as on a device that is lost
#pragma once
#include <cstddef>

namespace emulation {
struct Configuration {
  bool blocks_reversed = false, threads_reversed = false, late = false;
  size_t memory = size_t(4096) << 20;
  int devices = 1, major = 9, minor = 0;
  long fail = 0; // 0 is never
};
const Configuration &configuration();
// read_configuration reads it anew. A setting that is not understood is reported, and false returned.
bool read_configuration();
} // namespace emulation
