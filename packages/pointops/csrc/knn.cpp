// k nearest neighbors.
//
// Eight consecutive queries of the curve share one walk: all leaves within a guessed radius of their box become one flat
// candidate list. Each query then takes the candidates within its own guessed radius (from the query before it): when
// at least k are found, the k nearest are among them, and that is proven, because the list is complete up to the group's
// radius. Otherwise it looks at the whole list, and at last walks the tree alone.
#include "parallel.hpp"
#include "search.hpp"

namespace pointops {
namespace {

constexpr int64_t kMaxCandidates = 4096;

// Guessed squared radius over the last one: the fewer neighbors, the more their distance varies.
inline float slack(int64_t k) { return k < 8 ? 2.25f : 1.44f; }

struct Knn {
  const Tree& tree;
  int64_t k;
  Hits hits;
  std::vector<float> x, y, z;
  std::vector<int32_t> row;
  int64_t candidates = 0;

  Knn(const Tree& tree_, int64_t k_) : tree(tree_), k(k_) {
    const int64_t room = std::min<int64_t>(kMaxCandidates, tree.blocks * kLeaf) + 2 * W;
    x.resize(room);
    y.resize(room);
    z.resize(room);
    row.resize(room);
    hits.reserve(std::max(room, 2 * k + 128));
  }

  // The flat list of all points whose leaf is within r2 of the box; false when it grows too long.
  bool collect(const Box& box, float r2) {
    struct Entry {
      int level;
      int64_t node;
    };
    Entry stack[128];
    int depth = 0;
    const F8 limit = all8(r2);
    candidates = 0;
    stack[depth++] = {tree.top(), 0};
    while (depth) {
      const Entry at = stack[--depth];
      Mask near = bounds(tree.levels[at.level].node(at.node), box) <= limit;
      if (at.level) {
        for (; near; near &= near - 1) stack[depth++] = {at.level - 1, at.node * 8 + lowest_bit(near)};
        continue;
      }
      if (candidates + 64 > kMaxCandidates) return false;
      for (; near; near &= near - 1) {
        const int64_t leaf = at.node * 8 + lowest_bit(near);
        const float* block = tree.block(leaf);
        store8(x.data() + candidates, load8(block));
        store8(y.data() + candidates, load8(block + 8));
        store8(z.data() + candidates, load8(block + 16));
        store8(row.data() + candidates, load8(tree.rows(leaf)));
        candidates += kLeaf;
      }
    }
    for (int i = 0; i < W; i += 8) {
      store8(x.data() + candidates + i, all8(kFar));  // the last vector may read past the end
    }
    return true;
  }

  void filter(float qx, float qy, float qz, float limit2) {
    const FW fx = all(qx), fy = all(qy), fz = all(qz), limit = all(limit2);
    int64_t count = 0;
    float* out = hits.d2.data();
    int32_t* out_row = hits.row.data();
    for (int64_t i = 0; i < candidates; i += W) {
      const FW d2 = square_sum(load(x.data() + i) - fx, load(y.data() + i) - fy, load(z.data() + i) - fz);
      const Mask hit = d2 <= limit;
      compress(out + count, d2, hit);
      compress(out_row + count, load(row.data() + i), hit);
      count += popcount(hit);
    }
    hits.count = count;
  }

  // Walks the tree for one query, nearest child first.
  void alone(float qx, float qy, float qz) {
    hits.count = 0;
    limit_ = FLT_MAX;
    limit_row_ = INT32_MAX;
    capacity_ = std::min<int64_t>(hits.room(), std::max<int64_t>(k + 32, 2 * k));
    descend(tree.top(), 0, qx, qy, qz);
  }

  void descend(int level, int64_t node, float qx, float qy, float qz) {
    const Tree::Level& here = tree.levels[level];
    float bound[8];
    const F8 b = bounds(here.node(node), qx, qy, qz);
    store8(bound, b);
    Mask open = b <= all8(limit_);
    while (open) {
      int best = lowest_bit(open);
      for (Mask rest = open & (open - 1); rest; rest &= rest - 1) {
        const int c = lowest_bit(rest);
        if (bound[c] < bound[best]) best = c;
      }
      open &= ~(Mask{1} << best);
      if (bound[best] > limit_) return;
      if (bound[best] == limit_ && here.rows(node)[best] > limit_row_) continue;
      const int64_t child = node * 8 + best;
      if (level) {
        descend(level - 1, child, qx, qy, qz);
      } else {
        const F8 d2 = distances(tree.block(child), qx, qy, qz);
        const Mask hit = d2 <= all8(limit_);
        if (!hit) continue;
        compress8_store(hits.d2.data() + hits.count, d2, hit);
        compress8_store(hits.row.data() + hits.count, load8(tree.rows(child)), hit);
        hits.count += popcount(hit);
        if (hits.count + 8 > capacity_ || (limit_ == FLT_MAX && hits.count >= k)) {
          limit_ = hits.shrink(k, limit_);
          if (limit_ < FLT_MAX) limit_row_ = hits.row[k - 1];
        }
      }
    }
  }

 private:
  float limit_ = FLT_MAX;
  int32_t limit_row_ = INT32_MAX;
  int64_t capacity_ = 0;
};

struct Scene {
  Tree tree;
  Blocks sorted;  // queries in curve order, unless the cloud searches itself
  bool self = false;
  const Blocks& queries() const { return self ? static_cast<const Blocks&>(tree) : sorted; }
};

// Queries of blocks [begin, end); writes their rows of idx and dist (already advanced to the scene).
void search(const Scene& scene, int64_t begin, int64_t end, int64_t k, int32_t start, bool first_point, int32_t* idx,
            float* dist) {
  const Blocks& queries = scene.queries();
  Knn knn(scene.tree, k);
  const bool grouped = 4 * k < kMaxCandidates;
  const float loose = slack(k);
  float group2 = -1;  // largest k-th squared distance of the last group
  // k-th squared distances of the last queries. The guess uses the one before the last: taking the last would make every
  // query wait for the one before it.
  float last2 = -1, earlier2 = -1;
  for (int64_t b = begin; b < end; ++b) {
    const float* block = queries.block(b);
    const int count = queries.size(b);
    for (int q = 0; q < count; ++q) {  // the rows to be written lie anywhere
      prefetch(idx + int64_t{queries.rows(b)[q]} * k);
      prefetch(dist + int64_t{queries.rows(b)[q]} * k);
    }
    bool complete = false;
    float radius2 = 0;
    if (grouped && group2 >= 0) {
      radius2 = group2 * loose;
      complete = knn.collect(queries.box(b), radius2) && knn.candidates >= k;
    }
    group2 = -1;
    for (int q = 0; q < count; ++q) {
      const float qx = block[q], qy = block[8 + q], qz = block[16 + q];
      bool found = false;
      if (complete) {
        const float guess = std::min(radius2, earlier2 * loose);
        knn.filter(qx, qy, qz, guess);
        if (knn.hits.count < k && guess < radius2) knn.filter(qx, qy, qz, radius2);
        found = knn.hits.count >= k;
      }
      if (!found) knn.alone(qx, qy, qz);
      const int64_t place = int64_t{queries.rows(b)[q]} * k;
      float* d = dist + place;
      int32_t* out = idx + place;
      const int64_t kept = knn.hits.smallest(k, d, out);
      if (kept == k) {
        earlier2 = last2;
        last2 = knn.hits.last;
        group2 = std::max(group2, last2);
      }
      for (int64_t j = 0; j < kept; ++j) out[j] += start;
      for (int64_t j = 0; j < kept; ++j) d[j] = std::sqrt(d[j]);
      for (int64_t j = kept; j < k; ++j) {
        out[j] = first_point ? start : -1;
        d[j] = kMissing;
      }
    }
  }
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_knn(const float* xyz, const int64_t* ends, int64_t scenes, const float* query,
                            const int64_t* query_ends, int64_t k, int first_point, int threads, int32_t* idx,
                            float* dist) {
  return guarded([&]() -> int {
    const int64_t total = scenes ? ends[scenes - 1] : 0, asked = scenes ? query_ends[scenes - 1] : 0;
    if (!all_good(xyz, total)) return POINTOPS_BAD_COORDINATE;
    if (query != xyz && !all_good(query, asked)) return POINTOPS_BAD_QUERY;
    std::vector<Scene> index(scenes);
    parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t s = low; s < high; ++s) {
        const int64_t start = s ? ends[s - 1] : 0, from = s ? query_ends[s - 1] : 0;
        if (ends[s] > start && query_ends[s] > from) index[s].tree.build(xyz + 3 * start, ends[s] - start);
        index[s].self = query == xyz && query_ends[s] == ends[s] && from == start;
        if (!index[s].self) index[s].sorted.sort(query + 3 * from, query_ends[s] - from);
      }
    });
    for (int64_t s = 0; s < scenes; ++s) {
      const int64_t start = s ? ends[s - 1] : 0, from = s ? query_ends[s - 1] : 0, count = ends[s] - start;
      int32_t* out = idx + from * k;
      float* out_dist = dist + from * k;
      if (count == 0) {
        std::fill(out, out + (query_ends[s] - from) * k, -1);
        std::fill(out_dist, out_dist + (query_ends[s] - from) * k, kMissing);
        continue;
      }
      parallel_for(threads, index[s].queries().blocks, 256, [&](int64_t begin, int64_t end) {
        search(index[s], begin, end, k, static_cast<int32_t>(start), first_point != 0, out, out_dist);
      });
    }
    return POINTOPS_OK;
  });
}
