// Neighbors within a radius. Eight consecutive queries of the curve share one walk, which lists the points of all leaves
// within the radius of their box; each query picks its hits from that list (or walks alone when the list grows too long)
// and puts them in order by rank.
#include "parallel.hpp"
#include "search.hpp"

namespace pointops {
namespace {

struct Ball {
  const Tree& tree;
  float low2, high2;
  bool inclusive;
  Candidates near;

  Ball(const Tree& tree_, float low2_, float high2_, bool inclusive_)
      : tree(tree_), low2(low2_), high2(high2_), inclusive(inclusive_), near(tree_) {}

  void filter(float x, float y, float z, Hits& hits) const {
    const FW high = all(high2), low = all(low2), zero = all(0.0f);
    if (inclusive)
      near.filter(x, y, z, hits, [&](const FW& d2) { return ((d2 <= high) & (low <= d2)) | (d2 == zero); });
    else if (low2 == 0 && high2 > 0)
      near.filter(x, y, z, hits, [&](const FW& d2) { return d2 < high; });
    else
      near.filter(x, y, z, hits, [&](const FW& d2) { return ((d2 < high) & (low <= d2)) | (d2 == zero); });
  }

  void find(float x, float y, float z, Hits& hits) const {
    struct Entry {
      int level;
      int64_t node;
    };
    Entry stack[128];
    int depth = 0;
    const F8 high = all8(high2), low = all8(low2), zero = all8(0.0f);
    hits.count = 0;
    stack[depth++] = {tree.top(), 0};
    while (depth) {
      const Entry at = stack[--depth];
      const F8 bound = bounds(tree.levels[at.level].node(at.node), x, y, z);
      Mask near = inclusive ? bound <= high : (bound < high) | (bound == zero);
      if (at.level) {
        for (; near; near &= near - 1) stack[depth++] = {at.level - 1, at.node * 8 + lowest_bit(near)};
        continue;
      }
      if (hits.count + 64 > hits.room()) hits.grow();
      for (; near; near &= near - 1) {
        const int64_t leaf = at.node * 8 + lowest_bit(near);
        const F8 d2 = distances(tree.block(leaf), x, y, z);
        const Mask hit = ((inclusive ? d2 <= high : d2 < high) & (low <= d2)) | (d2 == zero);
        if (!hit) continue;
        compress8_store(hits.d2.data() + hits.count, d2, hit);
        compress8_store(hits.row.data() + hits.count, load8(tree.rows(leaf)), hit);
        hits.count += popcount(hit);
      }
    }
  }
};

struct Options {
  int64_t k;
  float low2, high2;
  bool inclusive, nearest, repeat;
};

void search(const Tree& tree, const Blocks& queries, int64_t begin, int64_t end, const Options& how, int32_t start,
            int32_t* idx, float* dist) {
  Ball ball(tree, how.low2, how.high2, how.inclusive);
  Conveyor conveyor(how.k, Candidates::room(tree));
  const auto rank = [&](Conveyor::Query& query) {
    query.kept = how.nearest ? query.hits.smallest(how.k) : query.hits.lowest_rows(how.k);
  };
  const auto write = [&](const Conveyor::Query& query) {
    const Hits& hits = query.hits;
    const int32_t filler = !how.repeat ? -1 : query.kept ? hits.best_row[0] + start : start;
    const float far = how.repeat && query.kept ? std::sqrt(hits.best_d2[0]) : kMissing;
    const int64_t place = query.row * how.k;
    hits.write(query.kept, how.k, start, filler, far, idx + place, dist ? dist + place : nullptr);
  };
  for (int64_t b = begin; b < end; ++b) {
    const float* block = queries.block(b);
    const bool together = ball.near.collect(tree, queries.box(b), how.high2);
    for (int q = 0; q < queries.size(b); ++q) {
      const float x = block[q], y = block[8 + q], z = block[16 + q];
      const auto find = [&](Hits& hits) { together ? ball.filter(x, y, z, hits) : ball.find(x, y, z, hits); };
      conveyor.push(queries.rows(b)[q], find, rank, write);
    }
  }
  conveyor.finish(rank, write);
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_ball(const float* xyz, const int64_t* ends, int64_t scenes, const void* index, const float* query,
                             const int64_t* query_ends, const void* query_index, int64_t k, float low2, float high2,
                             int inclusive, int nearest, int repeat, int threads, int32_t* idx, float* dist) {
  return guarded([&]() -> int {
    const int64_t total = scenes ? ends[scenes - 1] : 0, asked = scenes ? query_ends[scenes - 1] : 0;
    const bool self = query == xyz && std::equal(ends, ends + scenes, query_ends);
    if (!index && !all_good(xyz, total)) return POINTOPS_BAD_COORDINATE;
    if (!self && !query_index && !all_good(query, asked)) return POINTOPS_BAD_QUERY;
    if (!asked) return POINTOPS_OK;
    const Options how{k, low2, high2, inclusive != 0, nearest != 0, repeat != 0};
    const Searched trees(index, xyz, ends, scenes, threads);
    const Asked queries(self ? trees.index() : query_index, query, query_ends, scenes, threads);
    for (int64_t s = 0; s < scenes; ++s) {
      const int64_t start = s ? ends[s - 1] : 0, from = s ? query_ends[s - 1] : 0, count = query_ends[s] - from;
      int32_t* out = idx + from * k;
      float* out_dist = dist ? dist + from * k : nullptr;
      if (ends[s] == start) {
        std::fill(out, out + count * k, -1);
        if (dist) std::fill(out_dist, out_dist + count * k, kMissing);
      } else if (count) {
        parallel_for(threads, queries[s].blocks, 64, [&](int64_t begin, int64_t end) {
          search(trees[s], queries[s], begin, end, how, static_cast<int32_t>(start), out, out_dist);
        });
      }
    }
    return POINTOPS_OK;
  });
}
