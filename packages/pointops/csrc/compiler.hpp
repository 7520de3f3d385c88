// What compilers spell differently.
#pragma once

#if defined(_MSC_VER)
#define POINTOPS_RESTRICT __restrict
#define POINTOPS_INLINE __forceinline
#else
#define POINTOPS_RESTRICT __restrict__
#define POINTOPS_INLINE inline __attribute__((always_inline))
#endif

namespace pointops {

// Fetches a line of memory early, to be read. (Always inlined, and so must be what calls only these: GCC takes a function
// that does nothing else for one without effect and drops the call.)
POINTOPS_INLINE void prefetch(const void* place) {
#if defined(__GNUC__)
  __builtin_prefetch(place);
#else
  (void)place;
#endif
}

// The same, to be written.
POINTOPS_INLINE void prefetch_write(const void* place) {
#if defined(__GNUC__)
  __builtin_prefetch(place, 1);
#else
  (void)place;
#endif
}

// A whole row of floats or integers.
template <class T>
POINTOPS_INLINE void prefetch_row(const T* row, long long count) {
  for (long long i = 0; i < count; i += 64 / static_cast<long long>(sizeof(T))) prefetch_write(row + i);
  prefetch_write(row + count - 1);
}

}  // namespace pointops
