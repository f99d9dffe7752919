// Barriers, and what the lanes of a warp tell one another.
#pragma once

inline void __syncthreads() { emulation::meet_block(); }
inline int __syncthreads_count(int yes) { return emulation::count_block(yes != 0); }
inline int __syncthreads_or(int yes) { return emulation::count_block(yes != 0) > 0; }
inline int __syncthreads_and(int yes) { return emulation::count_block(yes == 0) == 0; }

inline void __syncwarp(uint32_t mask = 0xffffffffu) {
  emulation::meet_warp(mask, [](void **, uint32_t) {}, emulation::self, "__syncwarp");
}

namespace emulation {
template <class T> struct Shuffle {
  T value, result;
  unsigned from; // lane
};
template <class T> T shuffle(uint32_t mask, T value, unsigned from, const char *name) {
  Shuffle<T> mine{value, value, from};
  meet_warp(
      mask,
      [](void **brought, uint32_t) {
        for (int lane = 0; lane < 32; lane++) {
          auto to = static_cast<Shuffle<T> *>(brought[lane]);
          if (!to) continue;
          auto from = static_cast<Shuffle<T> *>(brought[to->from]);
          if (!from) fail("a shuffle reads lane %u, which is not in its mask or has returned", to->from);
          to->result = from->value;
        }
      },
      &mine, name);
  return mine.result;
}

// The lane that a shuffle among `width` lanes reads: its own if the other would be in another group.
inline unsigned in_group(int other, int width) {
  int lane = static_cast<int>(self->lane), first = lane & -width;
  return static_cast<unsigned>(other < first || other >= first + width ? lane : other);
}
} // namespace emulation

template <class T> T __shfl_sync(uint32_t mask, T x, int from, int width = 32) {
  int first = static_cast<int>(emulation::self->lane) & -width;
  return emulation::shuffle(mask, x, static_cast<unsigned>(first + (from & (width - 1))), "__shfl_sync");
}
template <class T> T __shfl_xor_sync(uint32_t mask, T x, int with, int width = 32) {
  return emulation::shuffle(mask, x, emulation::in_group(static_cast<int>(emulation::self->lane) ^ with, width), "__shfl_xor_sync");
}
template <class T> T __shfl_down_sync(uint32_t mask, T x, unsigned by, int width = 32) {
  return emulation::shuffle(mask, x, emulation::in_group(static_cast<int>(emulation::self->lane + by), width), "__shfl_down_sync");
}
template <class T> T __shfl_up_sync(uint32_t mask, T x, unsigned by, int width = 32) {
  return emulation::shuffle(mask, x, emulation::in_group(static_cast<int>(emulation::self->lane - by), width), "__shfl_up_sync");
}

namespace emulation {
// What all lanes get from what all lanes bring.
template <class T> struct Vote {
  T value, result;
};
template <class T, class Op> T vote(uint32_t mask, T value, T start, const char *name) {
  Vote<T> mine{value, value};
  static const T first = start;
  meet_warp(
      mask,
      [](void **brought, uint32_t) {
        T all = first;
        for (unsigned lane = 0; lane < 32; lane++)
          if (auto v = static_cast<Vote<T> *>(brought[lane])) all = Op::join(all, v->value, lane);
        for (int lane = 0; lane < 32; lane++)
          if (auto v = static_cast<Vote<T> *>(brought[lane])) v->result = all;
      },
      &mine, name);
  return mine.result;
}
struct Ballot {
  static uint32_t join(uint32_t all, uint32_t yes, unsigned lane) { return all | (yes ? 1u << lane : 0); }
};
struct Sum {
  template <class T> static T join(T all, T x, unsigned) { return all + x; }
};
struct Or {
  template <class T> static T join(T all, T x, unsigned) { return all | x; }
};
struct Least {
  template <class T> static T join(T all, T x, unsigned) { return x < all ? x : all; }
};
struct Greatest {
  template <class T> static T join(T all, T x, unsigned) { return all < x ? x : all; }
};
} // namespace emulation

inline uint32_t __ballot_sync(uint32_t mask, int yes) {
  return emulation::vote<uint32_t, emulation::Ballot>(mask, yes != 0, 0, "__ballot_sync");
}
inline int __any_sync(uint32_t mask, int yes) { return __ballot_sync(mask, yes) != 0; }
inline int __all_sync(uint32_t mask, int yes) { return __ballot_sync(mask, !yes) == 0; }
inline uint32_t __activemask() = delete; // what it returns is no promise: pass masks on instead

template <class T> T __reduce_add_sync(uint32_t mask, T x) { return emulation::vote<T, emulation::Sum>(mask, x, 0, "__reduce_add_sync"); }
template <class T> T __reduce_or_sync(uint32_t mask, T x) { return emulation::vote<T, emulation::Or>(mask, x, 0, "__reduce_or_sync"); }
template <class T> T __reduce_min_sync(uint32_t mask, T x) {
  return emulation::vote<T, emulation::Least>(mask, x, std::numeric_limits<T>::max(), "__reduce_min_sync");
}
template <class T> T __reduce_max_sync(uint32_t mask, T x) {
  return emulation::vote<T, emulation::Greatest>(mask, x, std::numeric_limits<T>::lowest(), "__reduce_max_sync");
}
