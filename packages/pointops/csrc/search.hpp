// What the searches share: lists of candidates, the trees and queries of a call, and the check of coordinates.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "compiler.hpp"
#include "hits.hpp"
#include "parallel.hpp"
#include "pointops.h"
#include "tree.hpp"

namespace pointops {

constexpr float kMissing = 1e5f;    // distance of a missing neighbor: the reference kernels' sqrt(1e10)
constexpr float kLargest = 1e18f;   // squared distances between larger coordinates overflow float32

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
    // Locals: after a vector store compilers load members anew.
    const float *px = x.data(), *py = y.data(), *pz = z.data();
    const int32_t* from_row = row.data();
    float* out = hits.d2.data();
    int32_t* out_row = hits.row.data();
    const int64_t listed = count;
    int64_t kept = 0;
    for (int64_t i = 0; i < listed; i += W) {
      const FW d2 = square_sum(load(px + i) - fx, load(py + i) - fy, load(pz + i) - fz);
      const Mask hit = test(d2);
      compress(out + kept, d2, hit);
      compress(out_row + kept, load(from_row + i), hit);
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
