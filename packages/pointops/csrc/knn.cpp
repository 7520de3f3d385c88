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

// Guessed squared radius over the last one: the fewer neighbors, the more their distance varies.
inline float slack(int64_t k) { return k < 8 ? 2.25f : 1.44f; }

struct Knn {
  const Tree& tree;
  int64_t k;
  Candidates near;

  Knn(const Tree& tree_, int64_t k_) : tree(tree_), k(k_), near(tree_) {}

  int64_t most_hits() const { return std::max<int64_t>(Candidates::room(tree), 2 * k + 128); }

  // Takes the candidates near a query from the list, which is complete up to radius2; false if they are fewer than k.
  bool sift(float qx, float qy, float qz, float radius2, float guess, Hits& hits) const {
    guess = std::min(guess, radius2);
    filter(qx, qy, qz, guess, hits);
    if (hits.count < k && guess < radius2) {
      guess = radius2;
      filter(qx, qy, qz, guess, hits);
    }
    if (hits.count > Hits::kRanked && 3 * k < Hits::kRanked) {
      // Rather look once more than sort them. On a surface, hits grow with squared distance from the nearest on.
      const float nearest2 = hits.nearest2();
      const float share = 1.5f * slack(k) * static_cast<float>(k) / static_cast<float>(hits.count);
      filter(qx, qy, qz, nearest2 + (guess - nearest2) * share, hits);
      if (hits.count < k) filter(qx, qy, qz, guess, hits);
    }
    return hits.count >= k;
  }

  // Walks the tree for one query, nearest child first.
  void alone(float qx, float qy, float qz, Hits& hits) {
    hits.count = 0;
    limit_ = FLT_MAX;
    limit_row_ = INT32_MAX;
    capacity_ = std::min<int64_t>(hits.room(), std::max<int64_t>(k + 32, 2 * k));
    descend(tree.top(), 0, qx, qy, qz, hits);
  }

 private:
  void filter(float qx, float qy, float qz, float limit2, Hits& hits) const {
    const FW limit = all(limit2);
    near.filter(qx, qy, qz, hits, [&](const FW& d2) { return d2 <= limit; });
  }

  void descend(int level, int64_t node, float qx, float qy, float qz, Hits& hits) {
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
        descend(level - 1, child, qx, qy, qz, hits);
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

  float limit_ = FLT_MAX;
  int32_t limit_row_ = INT32_MAX;
  int64_t capacity_ = 0;
};

// Queries of blocks [begin, end); writes their rows of idx and dist (already advanced to the scene).
void search(const Tree& tree, const Blocks& queries, int64_t begin, int64_t end, int64_t k, int32_t start,
            bool first_point, int32_t* idx, float* dist) {
  Knn knn(tree, k);
  const bool grouped = 4 * k < Candidates::kMost;
  const float loose = slack(k);
  float group2 = -1;  // largest k-th squared distance since the last list
  float last2 = -1;   // the k-th squared distance of the last query in order: of the one before the last that was found
  Conveyor conveyor(k, knn.most_hits());
  const auto rank = [&](Conveyor::Query& query) {
    query.kept = query.hits.smallest(k);
    if (query.kept < k) return;
    last2 = query.hits.best_d2[k - 1];
    group2 = std::max(group2, last2);
  };
  const auto write = [&](const Conveyor::Query& query) {
    const int64_t place = query.row * k;
    query.hits.write(query.kept, k, start, first_point ? start : -1, kMissing, idx + place, dist ? dist + place : nullptr);
  };
  for (int64_t b = begin; b < end; ++b) {
    const float* block = queries.block(b);
    const int count = queries.size(b);
    for (int q = 0; q < count; ++q) {  // the rows to be written lie anywhere
      prefetch_row(idx + int64_t{queries.rows(b)[q]} * k, k);
      if (dist) prefetch_row(dist + int64_t{queries.rows(b)[q]} * k, k);
    }
    bool complete = false;
    float radius2 = 0;
    if (grouped && group2 >= 0) {
      radius2 = group2 * loose;
      complete = knn.near.collect(knn.tree, queries.box(b), radius2) && knn.near.count >= k;
    }
    group2 = -1;
    for (int q = 0; q < count; ++q) {
      const float qx = block[q], qy = block[8 + q], qz = block[16 + q];
      const auto find = [&](Hits& hits) {
        const bool found = complete && knn.sift(qx, qy, qz, radius2, last2 * loose, hits);
        if (!found) knn.alone(qx, qy, qz, hits);
      };
      conveyor.push(queries.rows(b)[q], find, rank, write);
    }
  }
  conveyor.finish(rank, write);
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_knn(const float* xyz, const int64_t* ends, int64_t scenes, const void* index, const float* query,
                            const int64_t* query_ends, const void* query_index, int64_t k, int first_point, int threads,
                            int32_t* idx, float* dist) {
  return guarded([&]() -> int {
    const int64_t total = scenes ? ends[scenes - 1] : 0, asked = scenes ? query_ends[scenes - 1] : 0;
    const bool self = query == xyz && std::equal(ends, ends + scenes, query_ends);
    if (!index && !all_good(xyz, total)) return POINTOPS_BAD_COORDINATE;
    if (!self && !query_index && !all_good(query, asked)) return POINTOPS_BAD_QUERY;
    if (!asked) return POINTOPS_OK;
    prefer_large_pages(idx, static_cast<size_t>(asked * k) * sizeof *idx);
    if (dist) prefer_large_pages(dist, static_cast<size_t>(asked * k) * sizeof *dist);
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
        parallel_for(threads, queries[s].blocks, 256, [&](int64_t begin, int64_t end) {
          search(trees[s], queries[s], begin, end, k, static_cast<int32_t>(start), first_point != 0, out, out_dist);
        });
      }
    }
    return POINTOPS_OK;
  });
}
