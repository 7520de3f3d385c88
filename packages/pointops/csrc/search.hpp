// What the searches share: hits, their selection by rank, the walk over scenes, and the check of coordinates.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "pointops.h"
#include "tree.hpp"

namespace pointops {

constexpr float kMissing = 1e5f;    // distance of a missing neighbor: the reference kernels' sqrt(1e10)
constexpr float kLargest = 1e18f;   // squared distances between larger coordinates overflow float32

inline uint32_t bits_of(float v) {
  uint32_t b;
  std::memcpy(&b, &v, sizeof b);
  return b;
}
inline float float_of(uint32_t b) {
  float v;
  std::memcpy(&v, &b, sizeof v);
  return v;
}
// A non-negative float orders like its bits, so (squared distance, row) packs into one integer.
inline uint64_t key_of(float d2, int32_t row) {
  return static_cast<uint64_t>(bits_of(d2)) << 32 | static_cast<uint32_t>(row);
}

// Candidates of one query, as two arrays with room for a whole vector beyond the end.
struct Hits {
  std::vector<float> d2;
  std::vector<int32_t> row;
  int64_t count = 0;
  std::vector<uint64_t> keys;
  float last = 0;  // the largest squared distance that smallest() gave

  void reserve(int64_t most) {
    if (static_cast<int64_t>(d2.size()) < most + 2 * W) {
      d2.resize(most + 2 * W);
      row.resize(most + 2 * W);
    }
  }
  int64_t room() const { return static_cast<int64_t>(d2.size()) - 2 * W; }

  // The min(k, count) smallest by (d2, row), in order.
  int64_t smallest(int64_t k, float* out_d2, int32_t* out_row) {
    const int64_t kept = std::min(k, count);
    if (count > 0 && count <= 4 * W && ranked(kept, out_d2, out_row)) return kept;
    return sorted(kept, out_d2, out_row);
  }

  // Keeps the k smallest only (in order) and returns the largest of them, or `otherwise` if there are fewer.
  float shrink(int64_t k, float otherwise) {
    if (count < k) return otherwise;
    small_d2.resize(k);
    small_row.resize(k);
    smallest(k, small_d2.data(), small_row.data());
    std::copy(small_d2.begin(), small_d2.end(), d2.begin());
    std::copy(small_row.begin(), small_row.end(), row.begin());
    count = k;
    return d2[k - 1];
  }

 private:
  // Puts every hit at its rank, the number of smaller hits. Equal distances collide and leave a gap behind them: then,
  // and only then, false.
  bool ranked(int64_t kept, float* out_d2, int32_t* out_row) {
    const int vectors = static_cast<int>((count + W - 1) / W);
    for (int64_t i = count; i < vectors * W; ++i) d2[i] = INFINITY;
    switch (vectors) {
      case 1: ranks<1>(); break;
      case 2: ranks<2>(); break;
      case 3: ranks<3>(); break;
      default: ranks<4>(); break;
    }
    const int32_t slots = static_cast<int32_t>(std::min(kept + 1, count));
    float slot_d2[4 * W + 1];
    int32_t slot_row[4 * W + 1];
    for (int32_t i = 0; i <= slots; ++i) slot_row[i] = -1;
    for (int64_t i = 0; i < count; ++i) {
      const int32_t r = std::min(rank[i], slots);
      slot_d2[r] = d2[i];
      slot_row[r] = row[i];
    }
    int32_t gap = 0;
    for (int32_t i = 0; i < slots; ++i) gap |= slot_row[i];
    if (gap < 0) return false;
    copy(slot_d2, kept, out_d2);
    copy(slot_row, kept, out_row);
    last = slot_d2[kept - 1];
    return true;
  }

  template <int V>
  void ranks() {
    FW mine[V];
    IW smaller[V];
    for (int v = 0; v < V; ++v) {
      mine[v] = load(d2.data() + v * W);
      smaller[v] = all(int32_t{0});
    }
    for (int64_t j = 0; j < count; ++j) {
      const FW other = all(d2[j]);
      for (int v = 0; v < V; ++v) smaller[v] = count_less(smaller[v], other, mine[v]);
    }
    for (int v = 0; v < V; ++v) store(rank + v * W, smaller[v]);
  }

  int64_t sorted(int64_t kept, float* out_d2, int32_t* out_row) {
    keys.resize(count);
    for (int64_t i = 0; i < count; ++i) keys[i] = key_of(d2[i], row[i]);
    if (kept < count) std::nth_element(keys.begin(), keys.begin() + kept, keys.end());
    std::sort(keys.begin(), keys.begin() + kept);
    for (int64_t i = 0; i < kept; ++i) {
      out_d2[i] = float_of(static_cast<uint32_t>(keys[i] >> 32));
      out_row[i] = static_cast<int32_t>(keys[i] & 0xFFFFFFFF);
    }
    if (kept > 0) last = out_d2[kept - 1];
    return kept;
  }

  // Eight at a time; compilers turn the plain loop into a string move, which is slow to start.
  template <class T>
  static void copy(const T* from, int64_t count, T* to) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) store8(to + i, load8(from + i));
    for (; i < count; ++i) to[i] = from[i];
  }

  int32_t rank[4 * W];
  std::vector<float> small_d2;
  std::vector<int32_t> small_row;
};

inline bool all_good(const float* xyz, int64_t count) {
  // Vectorises: no early way out. NaN fails the comparison.
  int bad = 0;
  for (int64_t i = 0; i < 3 * count; ++i) bad |= !(std::fabs(xyz[i]) <= kLargest);
  return !bad;
}

inline void prefetch(const void* place) {
#if defined(__GNUC__)
  __builtin_prefetch(place, 1);
#else
  (void)place;
#endif
}

// Runs body() and turns exceptions into codes.
template <class Body>
int guarded(const Body& body) {
  try {
    return body();
  } catch (...) {
    return POINTOPS_NO_MEMORY;
  }
}

}  // namespace pointops
