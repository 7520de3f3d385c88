// One index for every search: points sorted along a Hilbert curve, cut into leaves of 8, under an implicit 8-ary tree
// of bounding boxes. A leaf and a node are one 8-wide vector test each.
//
// Box bounds are computed as distances are: (dx*dx + dy*dy) + dz*dz, each operation rounded. Rounding is monotone,
// so a bound never exceeds the computed distance to any point inside, and pruning is exact bit for bit.
#pragma once
#include <cfloat>
#include <cstdint>
#include <vector>

#include "memory.hpp"
#include "simd.hpp"

namespace pointops {

constexpr float kFar = 3e38f;  // coordinate of padding: its squared distance to anything overflows to infinity
constexpr int kLeaf = 8;

struct Box {
  float low[3] = {kFar, kFar, kFar};
  float high[3] = {-kFar, -kFar, -kFar};
};

// Points in curve order, eight to a block, coordinates apart: x[8] y[8] z[8].
struct Blocks {
  int64_t points = 0;
  int64_t blocks = 0;
  Array<float> xyz;    // blocks * 24, padded with kFar
  Array<int32_t> row;  // blocks * 8, the row in the scene; INT32_MAX for padding

  // Sorts `count` points (rows of 3 floats).
  void sort(const float* points_xyz, int64_t count);
  const float* block(int64_t b) const { return xyz.data() + b * 24; }
  const int32_t* rows(int64_t b) const { return row.data() + b * kLeaf; }
  int size(int64_t b) const { return static_cast<int>(points - b * kLeaf < kLeaf ? points - b * kLeaf : kLeaf); }
  Box box(int64_t b) const;
};

struct Tree : Blocks {
  // Nodes of level 0 hold the boxes of 8 leaves, nodes of level l those of 8 nodes of level l - 1; one node at the top.
  // A node is low x[8] y[8] z[8], high x[8] y[8] z[8]; lowest_row holds the smallest row below each of its children.
  struct Level {
    int64_t nodes = 0;
    Array<float> boxes;         // nodes * 48
    Array<int32_t> lowest_row;  // nodes * 8
    const float* node(int64_t n) const { return boxes.data() + n * 48; }
    const int32_t* rows(int64_t n) const { return lowest_row.data() + n * 8; }
  };
  std::vector<Level> levels;

  void build(const float* points_xyz, int64_t count);
  int top() const { return static_cast<int>(levels.size()) - 1; }
};

// The trees of all scenes of a batch (an empty scene has none), built once for any number of searches.
struct Index {
  std::vector<Tree> trees;

  Index(const float* xyz, const int64_t* ends, int64_t scenes, int threads);
};

// Lower bounds of the squared distances from a point to the 8 boxes of a node.
inline F8 bounds(const float* node, float x, float y, float z) {
  const F8 zero = all8(0.0f), qx = all8(x), qy = all8(y), qz = all8(z);
  const F8 dx = max(max(load8(node) - qx, qx - load8(node + 24)), zero);
  const F8 dy = max(max(load8(node + 8) - qy, qy - load8(node + 32)), zero);
  const F8 dz = max(max(load8(node + 16) - qz, qz - load8(node + 40)), zero);
  return square_sum(dx, dy, dz);
}

// The same from any point of a box.
inline F8 bounds(const float* node, const Box& box) {
  const F8 zero = all8(0.0f);
  const F8 dx = max(max(load8(node) - all8(box.high[0]), all8(box.low[0]) - load8(node + 24)), zero);
  const F8 dy = max(max(load8(node + 8) - all8(box.high[1]), all8(box.low[1]) - load8(node + 32)), zero);
  const F8 dz = max(max(load8(node + 16) - all8(box.high[2]), all8(box.low[2]) - load8(node + 40)), zero);
  return square_sum(dx, dy, dz);
}

// Lower bounds of the squared distances from any point of a box to the 8 points of a block.
inline F8 distances(const float* block, const Box& box) {
  const F8 zero = all8(0.0f), x = load8(block), y = load8(block + 8), z = load8(block + 16);
  const F8 dx = max(max(x - all8(box.high[0]), all8(box.low[0]) - x), zero);
  const F8 dy = max(max(y - all8(box.high[1]), all8(box.low[1]) - y), zero);
  const F8 dz = max(max(z - all8(box.high[2]), all8(box.low[2]) - z), zero);
  return square_sum(dx, dy, dz);
}

// Squared distances from a point to the 8 points of a block.
inline F8 distances(const float* block, float x, float y, float z) {
  return square_sum(load8(block) - all8(x), load8(block + 8) - all8(y), load8(block + 16) - all8(z));
}

}  // namespace pointops
