// Masks of lanes: one bit each.
#pragma once
#include <cstdint>

namespace pointops {

using Mask = uint32_t;

inline int popcount(Mask m) {
#if defined(__GNUC__)
  return __builtin_popcount(m);
#else
  int n = 0;
  for (; m; m &= m - 1) ++n;
  return n;
#endif
}

inline int lowest_bit(uint64_t m) {  // m must not be 0
#if defined(__GNUC__)
  return __builtin_ctzll(m);
#else
  int n = 0;
  while (!(m & 1)) m >>= 1, ++n;
  return n;
#endif
}

}  // namespace pointops
