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

#ifndef POINTOPS_CACHED_LEAVES  // a check may set it to 0, to send small clouds the way of large ones
#define POINTOPS_CACHED_LEAVES 40000
#endif
constexpr int64_t kCached = POINTOPS_CACHED_LEAVES;  // leaves that the caches hold, more or less

struct Peak {
  float value;
  int32_t row;
};

// The running distances of the 8 points of a leaf, or the largest ones below the 8 children of a node, and whose they are:
// one line of the cache.
struct alignas(64) Peaks {
  float value[8];
  int32_t row[8];

  // The largest value, ties to the lowest row.
  Peak best() const {
    const F8 v = load8(value);
    const float most = highest(v);
    Mask at = v == all8(most);
    int32_t lowest_row = row[lowest_bit(at)];
    for (at &= at - 1; at; at &= at - 1) lowest_row = std::min(lowest_row, row[lowest_bit(at)]);
    return {most, lowest_row};
  }
};

struct Sampler {
  const Tree& tree;
  std::vector<Array<Peaks>> peaks;  // [0] for the leaves, [l + 1] for the nodes of level l
  bool beyond_cache;

  Sampler(const Tree& tree_, bool skip_origin)
      : tree(tree_),
        peaks(tree_.levels.size() + 1),
        beyond_cache(tree_.blocks > kCached),
        open(peaks.size()),
        opened(peaks.size()) {
    peaks[0].resize(tree.blocks);
    for (int64_t b = 0; b < tree.blocks; ++b) {
      Peaks& leaf = peaks[0][b];
      const float* p = tree.block(b);
      for (int i = 0; i < kLeaf; ++i) {
        const bool never = skip_origin && square_sum(p[i], p[8 + i], p[16 + i]) <= kOrigin2;
        leaf.value[i] = i >= tree.size(b) ? kPadding : never ? kNever : kUntouched;
        leaf.row[i] = tree.rows(b)[i];
      }
    }
    for (size_t l = 0; l < tree.levels.size(); ++l) {
      const int64_t nodes = tree.levels[l].nodes, children = peaks[l].size();
      peaks[l + 1].resize(nodes);
      for (int64_t c = 0; c < nodes * 8; ++c) {
        const Peak p = c < children ? peaks[l][c].best() : Peak{kPadding, INT32_MAX};
        peaks[l + 1][c / 8].value[c % 8] = p.value;
        peaks[l + 1][c / 8].row[c % 8] = p.row;
      }
    }
    if (beyond_cache)
      for (size_t l = 0; l < open.size(); ++l) open[l].resize(peaks[l].size());
  }

  Peak best() const { return peaks.back()[0].best(); }

  void add(float x, float y, float z) {
    if (beyond_cache)
      sweep(x, y, z);
    else
      visit(tree.top(), 0, x, y, z);
  }

 private:
  // What a sweep visits: leaves in open[0], nodes of level l in open[l + 1]; and how many.
  std::vector<Array<int32_t>> open;
  std::vector<int64_t> opened;

  void visit(int level, int64_t node, float x, float y, float z) {
    Peaks& mine = peaks[level + 1][node];
    Mask near = bounds(tree.levels[level].node(node), x, y, z) < load8(mine.value);
    for (; near; near &= near - 1) {
      const int c = lowest_bit(near);
      const int64_t child = node * 8 + c;
      Peaks& below = peaks[level][child];
      if (level)
        visit(level - 1, child, x, y, z);
      else
        store8(below.value, min(load8(below.value), distances(tree.block(child), x, y, z)));
      const Peak p = below.best();
      mine.value[c] = p.value;
      mine.row[c] = p.row;
    }
  }

  // The same level by level downwards, so that many nodes are on their way from memory at once; then upwards again.
  void sweep(float x, float y, float z) {
    const int top = tree.top();
    open[top + 1][0] = 0;
    int64_t count = 1;
    for (int level = top; level >= 0; --level) {
      const int32_t* nodes = open[level + 1].data();
      int32_t* below = open[level].data();
      int64_t found = 0;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t node = nodes[i];
        Mask near = bounds(tree.levels[level].node(node), x, y, z) < load8(peaks[level + 1][node].value);
        for (; near; near &= near - 1) {
          const int64_t child = node * 8 + lowest_bit(near);
          below[found++] = static_cast<int32_t>(child);
          fetch(level, child);
        }
      }
      opened[level] = count = found;
    }
    for (int64_t i = 0; i < opened[0]; ++i) {
      const int64_t leaf = open[0][i];
      float* value = peaks[0][leaf].value;
      store8(value, min(load8(value), distances(tree.block(leaf), x, y, z)));
    }
    for (int level = 0; level <= top; ++level)
      for (int64_t i = 0; i < opened[level]; ++i) {
        const int64_t child = open[level][i];
        const Peak p = peaks[level][child].best();
        Peaks& above = peaks[level + 1][child / 8];
        above.value[child % 8] = p.value;
        above.row[child % 8] = p.row;
      }
  }

  void fetch(int level, int64_t child) const {
    prefetch_write(&peaks[level][child]);
    const float* place = level ? tree.levels[level - 1].node(child) : tree.block(child);
    for (int i = 0; i < (level ? 48 : 24); i += 16) prefetch_write(place + i);
  }
};

// xyz are the points of the tree in their own order, `first` the one to begin with, `start` the row of the scene's first.
void sample_scene(const float* xyz, const Tree& tree, int64_t asked, bool skip_origin, int32_t first, int32_t start,
                  int32_t* sample, float* distance2) {
  sample[0] = start + first;
  if (distance2) distance2[0] = INFINITY;
  Sampler sampler(tree, skip_origin);
  int32_t last = first;
  for (int64_t j = 1; j < asked; ++j) {
    sampler.add(xyz[3 * int64_t{last}], xyz[3 * int64_t{last} + 1], xyz[3 * int64_t{last} + 2]);
    const Peak far = sampler.best();
    last = far.value < 0 ? first : far.row;
    sample[j] = start + last;
    if (distance2) distance2[j] = std::max(far.value, 0.0f);
    if (far.value <= 0) {  // only copies of chosen points are left: the answer no longer changes
      std::fill(sample + j, sample + asked, start + last);
      if (distance2) std::fill(distance2 + j, distance2 + asked, 0.0f);
      return;
    }
  }
}

// Goes on from `given` rows; returns how many samples there are before only copies of chosen points are left.
int64_t continue_scene(const float* xyz, const Tree& tree, const int32_t* given, int64_t count, int64_t asked,
                       int32_t start, int32_t* sample) {
  Sampler sampler(tree, false);
  for (int64_t j = 0; j < asked; ++j) {
    int32_t row;
    if (j < count) {
      row = given[j] - start;
    } else {
      const Peak far = sampler.best();
      if (far.value <= 0) return j;
      row = far.row;
    }
    sample[j] = start + row;
    sampler.add(xyz[3 * int64_t{row}], xyz[3 * int64_t{row} + 1], xyz[3 * int64_t{row} + 2]);
  }
  return asked;
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_fps(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                            const int64_t* sample_ends, const int64_t* starts, int skip_origin, int threads,
                            int32_t* sample, float* distance2) {
  return guarded([&]() -> int {
    if (!index && !all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t s = low; s < high; ++s) {
        const int64_t start = s ? ends[s - 1] : 0, from = s ? sample_ends[s - 1] : 0, asked = sample_ends[s] - from;
        if (asked == 0) continue;
        Tree own;
        if (!index) own.build(xyz + 3 * start, ends[s] - start);
        const Tree& tree = index ? static_cast<const Index*>(index)->trees[s] : own;
        const int32_t first = starts ? static_cast<int32_t>(starts[s] - start) : 0;
        sample_scene(xyz + 3 * start, tree, asked, skip_origin != 0, first, static_cast<int32_t>(start), sample + from,
                     distance2 ? distance2 + from : nullptr);
      }
    });
    return POINTOPS_OK;
  });
}

extern "C" int pointops_fps_continue(const float* xyz, const int64_t* ends, int64_t scenes, const int32_t* given,
                                     const int64_t* given_ends, const int64_t* sample_ends, int threads,
                                     int32_t* sample) {
  return guarded([&]() -> int {
    if (!all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t s = low; s < high; ++s) {
        const int64_t start = s ? ends[s - 1] : 0, from = s ? sample_ends[s - 1] : 0, asked = sample_ends[s] - from;
        const int64_t first = s ? given_ends[s - 1] : 0;
        if (asked == 0) continue;
        Tree tree;
        tree.build(xyz + 3 * start, ends[s] - start);
        const int64_t found = continue_scene(xyz + 3 * start, tree, given + first, given_ends[s] - first, asked,
                                             static_cast<int32_t>(start), sample + from);
        std::fill(sample + from + found, sample + from + asked, -1);
      }
    });
    return POINTOPS_OK;
  });
}
