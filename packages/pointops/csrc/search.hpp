// What the searches share: hits, their selection by rank, the walk over scenes, and the check of coordinates.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "parallel.hpp"
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

// The hits of one query, as two arrays with room for whole vectors beyond the end, and their order.
struct Hits {
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
      place(row.data(), INT32_MAX);
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
  static constexpr int64_t kRanked = 4 * W;  // up to so many hits are ordered by rank, without branches

  // Ranks count smaller distances. Equal ones collide and leave a gap behind them: then, and only then, false.
  bool by_distance(int64_t kept) {
    const int64_t slots = std::min(kept + 1, count);
    for (int64_t i = 0; i < slots; i += W) store(best_row.data() + i, all(int32_t{-1}));
    place(d2.data(), INFINITY);
    Mask gap = 0;
    for (int64_t i = 0; i < slots; i += W)
      gap |= (load(best_row.data() + i) < all(int32_t{0})) & first_lanes(slots - i);
    return !gap;
  }

  // Puts every hit where its rank by `value` says; `beyond` is larger than any value.
  template <class T>
  void place(T* value, T beyond) {
    const int vectors = static_cast<int>((count + W - 1) / W);
    store(value + count, all(beyond));
    switch (vectors) {
      case 0: return;
      case 1: return place<1>(value);
      case 2: return place<2>(value);
      case 3: return place<3>(value);
      default: return place<4>(value);
    }
  }

  template <int V, class T>
  void place(const T* value) {
    decltype(load(value)) mine[V];
    IW smaller[V];
    int32_t rank[V * W];
    for (int v = 0; v < V; ++v) {
      mine[v] = load(value + v * W);
      smaller[v] = all(int32_t{0});
    }
    const int64_t compared = V == 1 ? W : count;
    for (int64_t j = 0; j < compared; ++j) {
      const auto other = all(value[j]);
      for (int v = 0; v < V; ++v) smaller[v] = count_less(smaller[v], other, mine[v]);
    }
    for (int v = 0; v < V; ++v) store(rank + v * W, smaller[v]);
    for (int i = 0; i < V * W; ++i) {  // the lanes beyond the last hit all land behind it
      best_d2[rank[i]] = d2[i];
      best_row[rank[i]] = row[i];
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

// The points of all leaves near a few queries, as one flat list: each query then looks at the list alone, without a walk
// and nearly without branches.
struct Candidates {
  static constexpr int64_t kMost = 4096;
  Array<float> x, y, z;
  Array<int32_t> row;
  int64_t count = 0;

  // The longest list that a tree gives, whole vectors included.
  static int64_t room(const Tree& tree) { return std::min<int64_t>(kMost, tree.blocks * kLeaf) + 2 * W; }

  explicit Candidates(const Tree& tree) : x(room(tree)), y(room(tree)), z(room(tree)), row(room(tree)) {}

  // All points whose leaf is within the squared radius of the box; false when there are too many.
  bool collect(const Tree& tree, const Box& box, float radius2) {
    struct Entry {
      int level;
      int64_t node;
    };
    Entry stack[128];
    int depth = 0;
    const F8 limit = all8(radius2);
    count = 0;
    stack[depth++] = {tree.top(), 0};
    while (depth) {
      const Entry at = stack[--depth];
      Mask near = bounds(tree.levels[at.level].node(at.node), box) <= limit;
      if (at.level) {
        for (; near; near &= near - 1) stack[depth++] = {at.level - 1, at.node * 8 + lowest_bit(near)};
        continue;
      }
      if (count + 64 > kMost) return false;
      for (; near; near &= near - 1) {
        const int64_t leaf = at.node * 8 + lowest_bit(near);
        const float* block = tree.block(leaf);
        store8(x.data() + count, load8(block));
        store8(y.data() + count, load8(block + 8));
        store8(z.data() + count, load8(block + 16));
        store8(row.data() + count, load8(tree.rows(leaf)));
        count += kLeaf;
      }
    }
    for (int i = 0; i < W; i += 8) {  // the last vector may read past the end
      store8(x.data() + count + i, all8(kFar));
      store8(y.data() + count + i, all8(kFar));
      store8(z.data() + count + i, all8(kFar));
      store8(row.data() + count + i, all8(INT32_MAX));
    }
    return true;
  }

  // Hands the candidates that test(d2) picks to the hits, which must have room for `count` more.
  template <class Test>
  void filter(float qx, float qy, float qz, Hits& hits, const Test& test) const {
    const FW fx = all(qx), fy = all(qy), fz = all(qz);
    int64_t kept = 0;
    float* out = hits.d2.data();
    int32_t* out_row = hits.row.data();
    for (int64_t i = 0; i < count; i += W) {
      const FW d2 = square_sum(load(x.data() + i) - fx, load(y.data() + i) - fy, load(z.data() + i) - fz);
      const Mask hit = test(d2);
      compress(out + kept, d2, hit);
      compress(out_row + kept, load(row.data() + i), hit);
      kept += popcount(hit);
    }
    hits.count = kept;
  }
};

inline bool all_good(const float* xyz, int64_t count) {
  // Vectorises: no early way out. NaN fails the comparison.
  int bad = 0;
  for (int64_t i = 0; i < 3 * count; ++i) bad |= !(std::fabs(xyz[i]) <= kLargest);
  return !bad;
}

// The trees that one call searches: those of an index if it is given one, else its own.
class Searched {
 public:
  Searched(const void* index, const float* xyz, const int64_t* ends, int64_t scenes, int threads)
      : own_(index ? nullptr : new Index(xyz, ends, scenes, threads)),
        index_(index ? static_cast<const Index*>(index) : own_.get()) {}
  const Tree& operator[](int64_t scene) const { return index_->trees[scene]; }
  const Index* index() const { return index_; }

 private:
  std::unique_ptr<const Index> own_;
  const Index* index_;
};

// The queries of one call along the curve: those of an index if it is given one, else sorted here.
class Asked {
 public:
  Asked(const void* index, const float* query, const int64_t* ends, int64_t scenes, int threads)
      : index_(static_cast<const Index*>(index)), own_(index ? 0 : scenes) {
    if (index_) return;
    parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t s = low; s < high; ++s) {
        const int64_t start = s ? ends[s - 1] : 0;
        if (ends[s] > start) own_[s].sort(query + 3 * start, ends[s] - start);
      }
    });
  }
  const Blocks& operator[](int64_t scene) const { return index_ ? index_->trees[scene] : own_[scene]; }

 private:
  const Index* index_;
  std::vector<Blocks> own_;
};

inline void prefetch(const void* place) {
#if defined(__GNUC__)
  __builtin_prefetch(place);
#else
  (void)place;
#endif
}
inline void prefetch_write(const void* place) {
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
