// Nearest neighbors between two clouds, both ways. Each cloud's tree is also the other's list of queries in curve order.
//
// W consecutive queries share one walk; their lanes hold the best distance and row so far. The matches of the group before
// are tried first, so the walk starts with a tight bound. When it visits too many leaves all the same (a cloud collapsed
// far from the other), the queries go on one by one, each with its own bound.
#include "parallel.hpp"
#include "search.hpp"

namespace pointops {
namespace {

constexpr int kBlocks = W / kLeaf;  // query blocks in a group
constexpr int kManyLeaves = 100;  // the walk gives up here, or at the lower number after two groups that gave up
constexpr int kFewLeaves = 16;

struct Side {
  const Tree& queries;
  const Tree& cloud;
  int32_t start;  // first row of the cloud's scene
  float* distance2;
  int32_t* idx;
};

struct Alone {
  const Tree& cloud;
  float x, y, z;
  float best;
  int32_t row;

  void descend(int level, int64_t node) {
    const Tree::Level& here = cloud.levels[level];
    float bound[8];
    const F8 b = bounds(here.node(node), x, y, z);
    store8(bound, b);
    Mask open = b <= all8(best);
    while (open) {
      int c = lowest_bit(open);
      for (Mask rest = open & (open - 1); rest; rest &= rest - 1)
        if (bound[lowest_bit(rest)] < bound[c]) c = lowest_bit(rest);
      open &= ~(Mask{1} << c);
      if (bound[c] > best) return;
      if (bound[c] == best && here.rows(node)[c] > row) continue;
      const int64_t child = node * 8 + c;
      if (level) {
        descend(level - 1, child);
      } else {
        const F8 d2 = distances(cloud.block(child), x, y, z);
        const float least = lowest(d2);
        if (least > best) continue;
        for (Mask at = d2 == all8(least); at; at &= at - 1) {
          const int32_t r = cloud.rows(child)[lowest_bit(at)];
          if (least < best || r < row) row = r;
          best = least;
        }
      }
    }
  }
};

struct Group {
  FW x, y, z, best;
  IW row;
  Box box;

  void load_queries(const Tree& queries, int64_t block) {
    float lanes[3][W];
    box = Box{};
    for (int p = 0; p < kBlocks; ++p) {
      const int64_t b = std::min(block + p, queries.blocks - 1);  // a missing block repeats the last
      const float* q = queries.block(b);
      const int n = queries.size(b);
      for (int i = 0; i < kLeaf; ++i) {
        const int lane = i < n ? i : n - 1;  // a missing query repeats the last
        for (int a = 0; a < 3; ++a) lanes[a][p * kLeaf + i] = q[8 * a + lane];
      }
    }
    for (int a = 0; a < 3; ++a)
      for (int i = 0; i < W; ++i) {
        box.low[a] = std::min(box.low[a], lanes[a][i]);
        box.high[a] = std::max(box.high[a], lanes[a][i]);
      }
    x = load(lanes[0]);
    y = load(lanes[1]);
    z = load(lanes[2]);
    best = all(FLT_MAX);
    row = all(INT32_MAX);
  }

  // Equal distances are rare: the branch leaves them out of the chain of dependent steps.
  inline void offer(float px, float py, float pz, int32_t r) {
    const FW d2 = square_sum(all(px) - x, all(py) - y, all(pz) - z);
    const IW rows = all(r);
    const Lanes closer = less(d2, best), tied = equal(d2, best);
    best = min(d2, best);
    row = select(closer, rows, row);
    if (any(tied)) row = select(tied, min(rows, row), row);
  }

  // Whether any query can find something in child c of a node.
  inline bool useful(const float* node, int c) const {
    const FW zero = all(0.0f);
    const FW dx = max(max(all(node[c]) - x, x - all(node[24 + c])), zero);
    const FW dy = max(max(all(node[8 + c]) - y, y - all(node[32 + c])), zero);
    const FW dz = max(max(all(node[16 + c]) - z, z - all(node[40 + c])), zero);
    return any(less_equal(square_sum(dx, dy, dz), best));
  }

  // False when it gave up; best and row are then upper bounds.
  bool walk(const Tree& cloud, int most_leaves) {
    struct Entry {
      int level;
      int64_t node;
      float bound;
    };
    Entry stack[128];
    int depth = 0, leaves = 0;
    float most = highest(best);
    stack[depth++] = {cloud.top(), 0, 0.0f};
    while (depth) {
      const Entry at = stack[--depth];
      if (at.bound > most) continue;
      if (at.level < cloud.top() && !useful(cloud.levels[at.level + 1].node(at.node >> 3), at.node & 7)) continue;
      const float* node = cloud.levels[at.level].node(at.node);
      const F8 b = bounds(node, box);
      Mask near = b <= all8(most);
      if (!near) continue;
      float bound[8];
      store8(bound, b);
      // The nearest child first.
      int nearest = lowest_bit(near);
      for (Mask rest = near & (near - 1); rest; rest &= rest - 1)
        if (bound[lowest_bit(rest)] < bound[nearest]) nearest = lowest_bit(rest);
      near &= ~(Mask{1} << nearest);
      if (at.level) {
        for (; near; near &= near - 1) {
          const int c = lowest_bit(near);
          stack[depth++] = {at.level - 1, at.node * 8 + c, bound[c]};
        }
        stack[depth++] = {at.level - 1, at.node * 8 + nearest, bound[nearest]};
        continue;
      }
      for (int c = nearest;;) {
        if (useful(node, c)) {
          if (++leaves > most_leaves) return false;
          const float* p = cloud.block(at.node * 8 + c);
          const int32_t* r = cloud.rows(at.node * 8 + c);
          for (int i = 0; i < kLeaf; ++i) offer(p[i], p[8 + i], p[16 + i], r[i]);
        }
        if (!near) break;
        c = lowest_bit(near);
        near &= near - 1;
      }
      most = highest(best);
    }
    return true;
  }
};

// Query blocks [begin, end).
void one_way(const Side& side, const float* cloud_xyz, int64_t begin, int64_t end) {
  Group group;
  int32_t last[W];
  bool warm = false;
  int misses = 0;  // groups in a row that gave up
  for (int64_t b = begin; b < end; b += kBlocks) {
    group.load_queries(side.queries, b);
    for (int p = 0; p < kBlocks; ++p) {  // the results lie anywhere
      const int64_t block = std::min(b + p, end - 1);
      for (int i = 0; i < side.queries.size(block); ++i) {
        prefetch(side.distance2 + side.queries.rows(block)[i]);
        prefetch(side.idx + side.queries.rows(block)[i]);
      }
    }
    if (warm) {
      for (int i = 3; i < W; i += 4) {
        const float* p = cloud_xyz + 3 * int64_t{last[i]};
        group.offer(p[0], p[1], p[2], last[i]);
      }
      group.best = next_up(group.best);  // so that meeting the same points again is not a tie
    }
    const bool done = group.walk(side.cloud, misses < 2 ? kManyLeaves : kFewLeaves);
    misses = done ? 0 : misses + 1;
    float best[W];
    store(best, group.best);
    store(last, group.row);
    warm = true;
    for (int p = 0; p < kBlocks && b + p < end; ++p) {
      const float* q = side.queries.block(b + p);
      const int n = side.queries.size(b + p);
      for (int i = 0; i < n; ++i) {
        const int lane = p * kLeaf + i;
        if (!done) {
          Alone search{side.cloud, q[i], q[8 + i], q[16 + i], best[lane], last[lane]};
          search.descend(side.cloud.top(), 0);
          best[lane] = search.best;
          last[lane] = search.row;
        }
        const int32_t out = side.queries.rows(b + p)[i];
        side.distance2[out] = best[lane];
        side.idx[out] = side.start + last[lane];
      }
    }
  }
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_nearest_pair(const float* xyz, const int64_t* ends, int64_t scenes, const float* other,
                                     const int64_t* other_ends, int threads, float* distance2, int32_t* idx,
                                     float* other_distance2, int32_t* other_idx) {
  return guarded([&]() -> int {
    if (!all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    if (!all_good(other, scenes ? other_ends[scenes - 1] : 0)) return POINTOPS_BAD_QUERY;
    std::vector<Tree> trees(2 * scenes);
    parallel_for(threads, 2 * scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t t = low; t < high; ++t) {
        const int64_t s = t / 2, *e = t % 2 ? other_ends : ends, start = s ? e[s - 1] : 0;
        if (e[s] > start) trees[t].build((t % 2 ? other : xyz) + 3 * start, e[s] - start);
      }
    });
    for (int64_t t = 0; t < 2 * scenes; ++t) {
      const int64_t s = t / 2;
      const bool back = t % 2;
      const int64_t *mine = back ? other_ends : ends, *theirs = back ? ends : other_ends;
      const int64_t from = s ? mine[s - 1] : 0, start = s ? theirs[s - 1] : 0;
      float* out = (back ? other_distance2 : distance2) + from;
      int32_t* out_idx = (back ? other_idx : idx) + from;
      if (theirs[s] == start) {
        std::fill(out, out + (mine[s] - from), 0.0f);
        std::fill(out_idx, out_idx + (mine[s] - from), -1);
        continue;
      }
      const Side side{trees[t], trees[back ? t - 1 : t + 1], static_cast<int32_t>(start), out, out_idx};
      const float* cloud_xyz = (back ? xyz : other) + 3 * start;
      parallel_for(threads, side.queries.blocks, 256, [&](int64_t begin, int64_t end) { one_way(side, cloud_xyz, begin, end); });
    }
    return POINTOPS_OK;
  });
}
