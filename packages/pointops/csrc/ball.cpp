// Neighbors within a radius: each query walks the tree and notes its hits. In row order, hits of a small scene are marked
// in a bit map and read off in order; otherwise they are selected by rank.
#include "parallel.hpp"
#include "search.hpp"

namespace pointops {
namespace {

constexpr int64_t kMapRows = 1 << 16;  // largest scene whose hits go through a bit map

struct Ball {
  const Tree& tree;
  float low2, high2;
  bool inclusive;
  Hits hits;

  Ball(const Tree& tree_, float low2_, float high2_, bool inclusive_)
      : tree(tree_), low2(low2_), high2(high2_), inclusive(inclusive_) {
    hits.reserve(1024);
  }

  void find(float x, float y, float z) {
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
      if (hits.count + 64 > hits.room()) hits.reserve(2 * hits.room());
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

// Reads the first k rows in increasing order; distances are computed again from the rows.
int64_t first_rows(Hits& hits, std::vector<uint64_t>& map, int64_t k, int32_t* out) {
  const int64_t kept = std::min(k, hits.count);
  if (!map.empty()) {
    for (int64_t i = 0; i < hits.count; ++i) map[hits.row[i] >> 6] |= uint64_t{1} << (hits.row[i] & 63);
    int64_t n = 0;
    for (size_t w = 0; n < kept; ++w)
      for (uint64_t word = map[w]; word && n < kept; word &= word - 1)
        out[n++] = static_cast<int32_t>(w * 64 + lowest_bit(word));
    for (int64_t i = 0; i < hits.count; ++i) map[hits.row[i] >> 6] = 0;
    return kept;
  }
  if (kept < hits.count) std::nth_element(hits.row.begin(), hits.row.begin() + kept, hits.row.begin() + hits.count);
  std::sort(hits.row.begin(), hits.row.begin() + kept);
  std::copy(hits.row.begin(), hits.row.begin() + kept, out);
  return kept;
}

struct Options {
  int64_t k;
  float low2, high2;
  bool inclusive, nearest, repeat;
};

void search(const Tree& tree, const float* xyz, const Blocks& queries, int64_t begin, int64_t end, const Options& how,
            int32_t start, int32_t* idx, float* dist) {
  Ball ball(tree, how.low2, how.high2, how.inclusive);
  std::vector<uint64_t> map;
  if (!how.nearest && tree.points <= kMapRows) map.assign((tree.points + 63) / 64, 0);
  for (int64_t b = begin; b < end; ++b) {
    const float* block = queries.block(b);
    for (int q = 0; q < queries.size(b); ++q) {
      const float x = block[q], y = block[8 + q], z = block[16 + q];
      ball.find(x, y, z);
      int32_t* out = idx + int64_t{queries.rows(b)[q]} * how.k;
      float* d = dist + int64_t{queries.rows(b)[q]} * how.k;
      int64_t kept;
      if (how.nearest) {
        kept = ball.hits.smallest(how.k, d, out);
      } else {
        kept = first_rows(ball.hits, map, how.k, out);
        for (int64_t j = 0; j < kept; ++j) {
          const float* p = xyz + 3 * int64_t{out[j]};
          d[j] = square_sum(p[0] - x, p[1] - y, p[2] - z);
        }
      }
      for (int64_t j = 0; j < kept; ++j) d[j] = std::sqrt(d[j]);
      for (int64_t j = 0; j < kept; ++j) out[j] += start;
      const int32_t filler = !how.repeat ? -1 : kept ? out[0] : start;
      const float far = how.repeat && kept ? d[0] : kMissing;
      for (int64_t j = kept; j < how.k; ++j) out[j] = filler;
      for (int64_t j = kept; j < how.k; ++j) d[j] = far;
    }
  }
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_ball(const float* xyz, const int64_t* ends, int64_t scenes, const float* query,
                             const int64_t* query_ends, int64_t k, float low2, float high2, int inclusive, int nearest,
                             int repeat, int threads, int32_t* idx, float* dist) {
  return guarded([&]() -> int {
    const int64_t total = scenes ? ends[scenes - 1] : 0, asked = scenes ? query_ends[scenes - 1] : 0;
    if (!all_good(xyz, total)) return POINTOPS_BAD_COORDINATE;
    if (query != xyz && !all_good(query, asked)) return POINTOPS_BAD_QUERY;
    const Options how{k, low2, high2, inclusive != 0, nearest != 0, repeat != 0};
    std::vector<Tree> trees(scenes);
    std::vector<Blocks> queries(scenes);
    parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t s = low; s < high; ++s) {
        const int64_t start = s ? ends[s - 1] : 0, from = s ? query_ends[s - 1] : 0;
        if (ends[s] == start || query_ends[s] == from) continue;
        trees[s].build(xyz + 3 * start, ends[s] - start);
        queries[s].sort(query + 3 * from, query_ends[s] - from);
      }
    });
    for (int64_t s = 0; s < scenes; ++s) {
      const int64_t start = s ? ends[s - 1] : 0, from = s ? query_ends[s - 1] : 0;
      int32_t* out = idx + from * k;
      float* out_dist = dist + from * k;
      if (ends[s] == start) {
        std::fill(out, out + (query_ends[s] - from) * k, -1);
        std::fill(out_dist, out_dist + (query_ends[s] - from) * k, kMissing);
        continue;
      }
      parallel_for(threads, queries[s].blocks, 64, [&](int64_t begin, int64_t end) {
        search(trees[s], xyz + 3 * start, queries[s], begin, end, how, static_cast<int32_t>(start), out, out_dist);
      });
    }
    return POINTOPS_OK;
  });
}
