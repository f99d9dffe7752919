// Kernels by name. register.sh writes, for each file of kernels, the lines that put its kernels here.
#pragma once
#include <tuple>
#include <type_traits>

#include "block.h"

namespace emulation {
struct Kernel {
  const char *name;
  unsigned most_threads; // of __launch_bounds__
  void *(*pack)(void **parameters);
  void (*call)(void *arguments);
  void (*drop)(void *arguments);
  Kernel *next;
};
void add_kernel(Kernel *kernel);
Kernel *find_kernel(const char *name);

template <auto Function> struct Entry;
template <class... Args, void (*Function)(Args...)> struct Entry<Function> {
  static_assert(((sizeof(Args) <= 8) && ...), "gorgonia.org/cu passes 8 bytes for each argument");
  using Arguments = std::tuple<Args...>;
  template <size_t... I> static Arguments *packed(void **parameters, std::index_sequence<I...>) {
    return new Arguments(*static_cast<std::remove_const_t<Args> *>(parameters[I])...);
  }
  static void *pack(void **parameters) { return packed(parameters, std::index_sequence_for<Args...>()); }
  static void call(void *arguments) { std::apply(Function, *static_cast<Arguments *>(arguments)); }
  static void drop(void *arguments) { delete static_cast<Arguments *>(arguments); }
};

struct Registration {
  template <auto Function> static Registration of(const char *name, unsigned most_threads) {
    static Kernel kernel{name, most_threads, Entry<Function>::pack, Entry<Function>::call, Entry<Function>::drop, nullptr};
    add_kernel(&kernel);
    return {};
  }
};
} // namespace emulation
