// All neighbors within a radius that each query brings along. Every query walks the tree by itself, twice: to count its hits,
// so that their places are known, and to write them there.
#include "parallel.hpp"
#include "search.hpp"

namespace pointops {
namespace {

// hit(mask, d2, rows) for every leaf that holds hits.
template <class Hit>
void walk(const Tree& tree, const float* query, float radius2, bool inclusive, const Hit& hit) {
  struct Entry {
    int level;
    int64_t node;
  };
  Entry stack[128];
  int depth = 0;
  const float x = query[0], y = query[1], z = query[2];
  const F8 high = all8(radius2), zero = all8(0.0f);
  stack[depth++] = {tree.top(), 0};
  while (depth) {
    const Entry at = stack[--depth];
    const F8 bound = bounds(tree.levels[at.level].node(at.node), x, y, z);
    Mask near = inclusive ? bound <= high : (bound < high) | (bound == zero);
    for (; near; near &= near - 1) {
      const int64_t child = at.node * 8 + lowest_bit(near);
      if (at.level) {
        stack[depth++] = {at.level - 1, child};
        continue;
      }
      const F8 d2 = distances(tree.block(child), x, y, z);
      const Mask hits = (inclusive ? d2 <= high : d2 < high) | (d2 == zero);
      if (hits) hit(hits, d2, tree.rows(child));
    }
  }
}

// body(tree, query row, first row of the scene) for every query whose scene has points, on several threads.
template <class Body>
void each(const Searched& trees, const int64_t* ends, int64_t scenes, const int64_t* query_ends, int threads,
          const Body& body) {
  for (int64_t s = 0; s < scenes; ++s) {
    const int64_t start = s ? ends[s - 1] : 0, from = s ? query_ends[s - 1] : 0;
    if (ends[s] == start) continue;
    parallel_for(threads, query_ends[s] - from, 256, [&](int64_t begin, int64_t end) {
      body(trees[s], from + begin, from + end, static_cast<int32_t>(start));
    });
  }
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_radius_count(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                                     const float* query, const int64_t* query_ends, const float* radius2, int inclusive,
                                     int threads, int64_t* count) {
  return guarded([&]() -> int {
    const int64_t asked = scenes ? query_ends[scenes - 1] : 0;
    if (!index && !all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    if (!all_good(query, asked)) return POINTOPS_BAD_QUERY;
    std::fill(count, count + asked, 0);
    const Searched trees(index, xyz, ends, scenes, threads);
    each(trees, ends, scenes, query_ends, threads, [&](const Tree& tree, int64_t begin, int64_t end, int32_t) {
      for (int64_t q = begin; q < end; ++q)
        walk(tree, query + 3 * q, radius2[q], inclusive != 0,
             [&](Mask hits, const F8&, const int32_t*) { count[q] += popcount(hits); });
    });
    return POINTOPS_OK;
  });
}

extern "C" int pointops_radius_fill(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                                    const float* query, const int64_t* query_ends, const float* radius2, int inclusive,
                                    int nearest, int threads, const int64_t* first, int32_t* idx, float* dist) {
  return guarded([&]() -> int {
    const Searched trees(index, xyz, ends, scenes, threads);
    each(trees, ends, scenes, query_ends, threads, [&](const Tree& tree, int64_t begin, int64_t end, int32_t start) {
      std::vector<uint64_t> keys;  // what comes first in order in the upper half
      for (int64_t q = begin; q < end; ++q) {
        keys.clear();
        walk(tree, query + 3 * q, radius2[q], inclusive != 0, [&](Mask hits, const F8& d2, const int32_t* rows) {
          float value[8];
          store8(value, d2);
          for (; hits; hits &= hits - 1) {
            const int lane = lowest_bit(hits);
            const uint64_t row = static_cast<uint32_t>(rows[lane]), bits = bits_of(value[lane]);
            keys.push_back(nearest ? bits << 32 | row : row << 32 | bits);
          }
        });
        std::sort(keys.begin(), keys.end());
        int64_t place = first[q];
        for (const uint64_t key : keys) {
          const uint32_t upper = static_cast<uint32_t>(key >> 32), lower = static_cast<uint32_t>(key & 0xFFFFFFFF);
          idx[place] = start + static_cast<int32_t>(nearest ? lower : upper);
          if (dist) dist[place] = std::sqrt(float_of(nearest ? upper : lower));
          ++place;
        }
      }
    });
    return POINTOPS_OK;
  });
}
