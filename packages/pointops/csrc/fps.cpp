// Farthest point sampling on the tree: every leaf and node keeps the largest running distance below it and its lowest row.
// A new sample visits only the boxes nearer to it than their largest running distance, and the root then names the next
// sample.
#include "parallel.hpp"
#include "search.hpp"

namespace pointops {
namespace {

constexpr float kUntouched = 1e38f;
constexpr float kNever = -1.0f;    // points that the origin rule leaves out
constexpr float kPadding = -2.0f;  // lanes beyond the last point or child
constexpr float kOrigin2 = 1e-3f;  // VoteNet: x^2 + y^2 + z^2 at or below this is never chosen

struct Peak {
  float value;
  int32_t row;
};

// The largest of 8 values, ties to the lowest row.
inline Peak peak(const float* values, const int32_t* rows) {
  const F8 v = load8(values);
  const float most = highest(v);
  Mask at = v == all8(most);
  int32_t row = rows[lowest_bit(at)];
  for (at &= at - 1; at; at &= at - 1) row = std::min(row, rows[lowest_bit(at)]);
  return {most, row};
}

struct Sampler {
  const Tree& tree;
  std::vector<float> running;  // blocks * 8, squared distance to the nearest sample
  struct Level {
    std::vector<float> value;  // nodes * 8, the largest running distance below each child
    std::vector<int32_t> row;
  };
  std::vector<Level> levels;

  Sampler(const Tree& tree_, bool skip_origin) : tree(tree_) {
    running.assign(tree.blocks * kLeaf, kPadding);
    for (int64_t i = 0; i < tree.points; ++i) {
      const float* p = tree.block(i / 8) + i % 8;
      running[i] = skip_origin && square_sum(p[0], p[8], p[16]) <= kOrigin2 ? kNever : kUntouched;
    }
    levels.resize(tree.levels.size());
    for (size_t l = 0; l < levels.size(); ++l) {
      const int64_t nodes = tree.levels[l].nodes;
      levels[l].value.assign(nodes * 8, kPadding);
      levels[l].row.assign(nodes * 8, INT32_MAX);
      const int64_t children = l ? tree.levels[l - 1].nodes : tree.blocks;
      for (int64_t c = 0; c < children; ++c) {
        const Peak p = l ? peak(&levels[l - 1].value[c * 8], &levels[l - 1].row[c * 8]) : peak(&running[c * 8], tree.rows(c));
        levels[l].value[c] = p.value;
        levels[l].row[c] = p.row;
      }
    }
  }

  Peak best() const { return peak(levels.back().value.data(), levels.back().row.data()); }

  void add(float x, float y, float z) { visit(tree.top(), 0, x, y, z); }

 private:
  void visit(int level, int64_t node, float x, float y, float z) {
    float* value = levels[level].value.data() + node * 8;
    int32_t* row = levels[level].row.data() + node * 8;
    Mask near = bounds(tree.levels[level].node(node), x, y, z) < load8(value);
    if (level == 0) {
      for (; near; near &= near - 1) {
        const int c = lowest_bit(near);
        const int64_t leaf = node * 8 + c;
        float* mine = running.data() + leaf * 8;
        const F8 d2 = min(load8(mine), distances(tree.block(leaf), x, y, z));
        store8(mine, d2);
        const Peak p = peak(mine, tree.rows(leaf));
        value[c] = p.value;
        row[c] = p.row;
      }
      return;
    }
    for (; near; near &= near - 1) {
      const int c = lowest_bit(near);
      const int64_t child = node * 8 + c;
      visit(level - 1, child, x, y, z);
      const Peak p = peak(levels[level - 1].value.data() + child * 8, levels[level - 1].row.data() + child * 8);
      value[c] = p.value;
      row[c] = p.row;
    }
  }
};

// xyz are the points of the tree in their own order.
void sample_scene(const float* xyz, const Tree& tree, int64_t asked, bool skip_origin, int32_t start, int32_t* sample) {
  sample[0] = start;
  Sampler sampler(tree, skip_origin);
  int32_t last = 0;
  for (int64_t j = 1; j < asked; ++j) {
    sampler.add(xyz[3 * int64_t{last}], xyz[3 * int64_t{last} + 1], xyz[3 * int64_t{last} + 2]);
    const Peak far = sampler.best();
    last = far.value < 0 ? 0 : far.row;
    sample[j] = start + last;
    if (far.value <= 0) {  // only copies of chosen points are left: the answer no longer changes
      std::fill(sample + j, sample + asked, start + last);
      return;
    }
  }
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_fps(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                            const int64_t* sample_ends, int skip_origin, int threads, int32_t* sample) {
  return guarded([&]() -> int {
    if (!index && !all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t s = low; s < high; ++s) {
        const int64_t start = s ? ends[s - 1] : 0, from = s ? sample_ends[s - 1] : 0, asked = sample_ends[s] - from;
        if (asked == 0) continue;
        Tree own;
        if (!index) own.build(xyz + 3 * start, ends[s] - start);
        const Tree& tree = index ? static_cast<const Index*>(index)->trees[s] : own;
        sample_scene(xyz + 3 * start, tree, asked, skip_origin != 0, static_cast<int32_t>(start), sample + from);
      }
    });
    return POINTOPS_OK;
  });
}
