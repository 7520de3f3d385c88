// What the feature kernels share: rows of C floats, named by int32 row numbers of which -1 means a row of zeros.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "compiler.hpp"
#include "parallel.hpp"

namespace pointops {

constexpr int64_t kPiece = 256;  // points whose rows one thread takes at a time

template <class Body>
int no_throw(const Body& body, int out_of_memory) {
  try {
    return body();
  } catch (...) {
    return out_of_memory;
  }
}

inline bool good_rows(const int32_t* idx, int64_t entries, int64_t rows) {
  int32_t low = 0, high = -1;
  for (int64_t e = 0; e < entries; ++e) {
    low = idx[e] < low ? idx[e] : low;
    high = idx[e] > high ? idx[e] : high;
  }
  return low >= -1 && high < rows;
}

inline void add(float* POINTOPS_RESTRICT into, const float* POINTOPS_RESTRICT row, int64_t width, float sign = 1.0f) {
  for (int64_t c = 0; c < width; ++c) into[c] += sign * row[c];
}

// Calls body(row, entry) for every entry that names a row, on the thread that owns the row, in the order of the
// entries: sums come out the same bits for any number of threads, and no row is written by two.
template <class Body>
void by_owner(int threads, const int32_t* idx, int64_t entries, int64_t rows, const Body& body) {
  const int64_t owners = threads > 1 ? threads : 1;
  parallel_for(threads, owners, 1, [&](int64_t first, int64_t last) {
    const int32_t low = static_cast<int32_t>(rows * first / owners), high = static_cast<int32_t>(rows * last / owners);
    for (int64_t e = 0; e < entries; ++e)
      if (idx[e] >= low && idx[e] < high) body(static_cast<int64_t>(idx[e]), e);
  });
}

// e^x for x <= 0, within 2 units in the last place; the same bits in every build. A plain loop that compilers vectorise.
inline void exp_nonpositive(float* x, int64_t count) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  for (int64_t i = 0; i < count; ++i) {
    const float a = x[i] < -87.0f ? -87.0f : x[i];
    const float shifted = a * 1.44269504f + kRound;
    const float whole = shifted - kRound;
    const float r = (a - whole * 0.693359375f) - whole * -2.12194440e-4f;
    float p = 1.9875691500e-4f;  // the minimax polynomial of Cephes' expf
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    const int32_t power = (static_cast<int32_t>(whole) + 127) << 23;
    float scale;
    std::memcpy(&scale, &power, sizeof scale);
    x[i] = p * scale;
  }
}

}  // namespace pointops
