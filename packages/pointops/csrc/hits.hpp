// What a search has found for one query: selection by rank, and the order in which queries pass through it.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "compiler.hpp"
#include "memory.hpp"
#include "simd.hpp"

namespace pointops {

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

// The hits of one query, as two arrays with room for whole vectors beyond the end, and their order.
struct Hits {
  static constexpr int64_t kRanked = 64;  // up to so many hits are ordered by rank, without branches

  Array<float> d2;
  Array<int32_t> row;
  int64_t count = 0;
  // What smallest() and lowest_rows() found, in order, with room for whole vectors beyond the end.
  Array<float> best_d2;
  Array<int32_t> best_row;

  // k is the most that will be asked for.
  Hits(int64_t k, int64_t most) {
    d2.resize(most + 2 * W);
    row.resize(most + 2 * W);
    const int64_t slots = std::max<int64_t>(k, kRanked) + 2 * W;
    best_d2.resize(slots);
    best_row.resize(slots);
    std::fill_n(best_d2.data(), slots, 0.0f);
    std::fill_n(best_row.data(), slots, 0);
  }
  int64_t room() const { return d2.size() - 2 * W; }

  void grow() {
    Array<float> wide_d2(2 * d2.size());
    Array<int32_t> wide_row(2 * d2.size());
    std::copy_n(d2.data(), count, wide_d2.data());
    std::copy_n(row.data(), count, wide_row.data());
    d2.swap(wide_d2);
    row.swap(wide_row);
  }

  // After the last hit: fills its vector up with what ranks behind any hit.
  void close() {
    store(d2.data() + count, all(INFINITY));
    store(row.data() + count, all(INT32_MAX));
  }

  float nearest2() const {
    float least = INFINITY;
    for (int64_t i = 0; i < count; ++i) least = d2[i] < least ? d2[i] : least;
    return least;
  }

  // The min(k, count) smallest by (d2, row).
  int64_t smallest(int64_t k) {
    const int64_t kept = std::min(k, count);
    if (count <= kRanked && by_distance(kept)) return kept;
    sort_keys(kept, [this](int64_t i) { return key_of(d2[i], row[i]); });
    for (int64_t i = 0; i < kept; ++i) {
      best_d2[i] = float_of(static_cast<uint32_t>(keys[i] >> 32));
      best_row[i] = static_cast<int32_t>(keys[i] & 0xFFFFFFFF);
    }
    return kept;
  }

  // The min(k, count) lowest rows.
  int64_t lowest_rows(int64_t k) {
    const int64_t kept = std::min(k, count);
    if (count <= kRanked) {
      place(row.data());
      return kept;
    }
    sort_keys(kept, [this](int64_t i) { return uint64_t{static_cast<uint32_t>(row[i])} << 32 | bits_of(d2[i]); });
    for (int64_t i = 0; i < kept; ++i) {
      best_row[i] = static_cast<int32_t>(keys[i] >> 32);
      best_d2[i] = float_of(static_cast<uint32_t>(keys[i] & 0xFFFFFFFF));
    }
    return kept;
  }

  // Keeps the k smallest only (in order) and returns the largest of them, or `otherwise` if there are fewer.
  float shrink(int64_t k, float otherwise) {
    if (count < k) return otherwise;
    close();
    smallest(k);
    std::copy_n(best_d2.data(), k, d2.data());
    std::copy_n(best_row.data(), k, row.data());
    count = k;
    return d2[k - 1];
  }

  // Writes one line of each table (`dist` may be missing): the first `kept` of what was found, then the fillers, k in all.
  void write(int64_t kept, int64_t k, int32_t start, int32_t filler, float far, int32_t* idx, float* dist) const {
    const IW add = all(start), no_row = all(filler);
    int64_t j = 0;
    for (; j + W <= k; j += W) store(idx + j, select(first_lanes(kept - j), load(best_row.data() + j) + add, no_row));
    for (; j < k; ++j) idx[j] = j < kept ? best_row[j] + start : filler;
    if (!dist) return;
    const FW no_distance = all(far);
    for (j = 0; j + W <= k; j += W)
      store(dist + j, select(first_lanes(kept - j), root(load(best_d2.data() + j)), no_distance));
    for (; j < k; ++j) dist[j] = j < kept ? std::sqrt(best_d2[j]) : far;
  }

 private:
  // Ranks count smaller distances. Equal ones collide and leave a gap behind them: then, and only then, false.
  bool by_distance(int64_t kept) {
    const int64_t slots = std::min(kept + 1, count);
    for (int64_t i = 0; i < slots; i += W) store(best_row.data() + i, all(int32_t{-1}));
    place(d2.data());
    Mask gap = 0;
    for (int64_t i = 0; i < slots; i += W)
      gap |= (load(best_row.data() + i) < all(int32_t{0})) & first_lanes(slots - i);
    return !gap;
  }

  // Puts every hit where its rank by `value` says.
  template <class T>
  void place(const T* value) {
    const int vectors = static_cast<int>((count + W - 1) / W);
    if (vectors == 1) return place<1, W>(value, 0);  // the usual case of few neighbors
    int v = 0;
    for (; v + 4 <= vectors; v += 4) place<4>(value, v * W);
    switch (vectors - v) {
      case 1: return place<1>(value, v * W);
      case 2: return place<2>(value, v * W);
      case 3: return place<3>(value, v * W);
      default: return;
    }
  }

  // The same for V vectors of hits; kCompared is the number of hits if it is known.
  template <int V, int kCompared = 0, class T>
  POINTOPS_INLINE void place(const T* value, int first) {
    const int64_t compared = kCompared ? kCompared : count;
    decltype(load(value)) mine[V];
    IW smaller[V];
    int32_t rank[V * W];
    for (int v = 0; v < V; ++v) {
      mine[v] = load(value + first + v * W);
      smaller[v] = all(int32_t{0});
    }
    for (int64_t j = 0; j < compared; ++j) {
      const auto other = all(value[j]);
      for (int v = 0; v < V; ++v) smaller[v] = count_less(smaller[v], other, mine[v]);
    }
    for (int v = 0; v < V; ++v) store(rank + v * W, smaller[v]);
    for (int i = 0; i < V * W; ++i) {  // the lanes beyond the last hit all land behind it
      best_d2[rank[i]] = d2[first + i];
      best_row[rank[i]] = row[first + i];
    }
  }

  template <class Key>
  void sort_keys(int64_t kept, const Key& key) {
    keys.resize(count);
    for (int64_t i = 0; i < count; ++i) keys[i] = key(i);
    if (kept < count) std::nth_element(keys.begin(), keys.begin() + kept, keys.end());
    std::sort(keys.begin(), keys.begin() + kept);
  }

  std::vector<uint64_t> keys;
};

// Queries on their way: while the hits of one are looked for, those of the one before are put in order, and the one before
// that is written. Each step reads in whole vectors what the step before stored piece by piece; right after it, the
// processor would first have to finish every store that is under way, those to the far rows of the results included.
class Conveyor {
 public:
  struct Query {
    Hits hits;
    int64_t row;   // of the results
    int64_t kept;  // hits in order
  };

  // As Hits.
  Conveyor(int64_t k, int64_t most) : slots_{{{k, most}, 0, 0}, {{k, most}, 0, 0}, {{k, most}, 0, 0}} {}

  // find(hits) for a new query, rank(query) for the one before, write(query) for the one before that.
  template <class Find, class Rank, class Write>
  void push(int64_t row, const Find& find, const Rank& rank, const Write& write) {
    Query& query = slots_[taken_ % 3];
    query.row = row;
    find(query.hits);
    query.hits.close();
    if (taken_ >= 1) rank(slots_[(taken_ - 1) % 3]);
    if (taken_ >= 2) write(slots_[(taken_ - 2) % 3]);
    ++taken_;
  }

  // The last two.
  template <class Rank, class Write>
  void finish(const Rank& rank, const Write& write) {
    if (taken_ >= 1) rank(slots_[(taken_ - 1) % 3]);
    if (taken_ >= 2) write(slots_[(taken_ - 2) % 3]);
    if (taken_ >= 1) write(slots_[(taken_ - 1) % 3]);
  }

 private:
  Query slots_[3];
  uint64_t taken_ = 0;
};

}  // namespace pointops
