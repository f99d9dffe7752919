// Atomics: one thread runs at a time, so plain arithmetic is atomic. They return what was there before.
//
// Atomic additions of floats are here so that a test can show that they are found out: their order, and so their bits, change with the
// order of blocks and threads.
#pragma once

template <class T> T atomicExch(T *p, T x) { return std::exchange(*p, x); }
template <class T> T atomicCAS(T *p, T expected, T x) { return *p == expected ? std::exchange(*p, x) : *p; }
template <class T> T atomicAdd(T *p, std::common_type_t<T> x) { return std::exchange(*p, static_cast<T>(*p + x)); }
template <class T> T atomicSub(T *p, std::common_type_t<T> x) { return std::exchange(*p, static_cast<T>(*p - x)); }
template <class T> T atomicMin(T *p, std::common_type_t<T> x) { return std::exchange(*p, x < *p ? x : *p); }
template <class T> T atomicMax(T *p, std::common_type_t<T> x) { return std::exchange(*p, *p < x ? x : *p); }
template <class T> T atomicOr(T *p, std::common_type_t<T> x) { return std::exchange(*p, *p | x); }
template <class T> T atomicAnd(T *p, std::common_type_t<T> x) { return std::exchange(*p, *p & x); }
template <class T> T atomicXor(T *p, std::common_type_t<T> x) { return std::exchange(*p, *p ^ x); }

inline void __threadfence() {}
inline void __threadfence_block() {}
