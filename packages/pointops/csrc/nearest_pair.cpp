// Nearest neighbors between two clouds, both ways. Each cloud's tree is also the other's list of queries in curve order.
//
// A stretch of queries shares a list of what lies within a guessed reach (from the stretch before). W of them at a time
// look at it, starting with matches of the group before, which are a tight bound. When what they find is no farther than
// the reach, it is proven, because the list is complete up to there; else they walk down from the root. When they visit
// too many leaves (a cloud collapsed far from the other), the queries go on one by one, each with its own bound.
#include "parallel.hpp"
#include "query_group.hpp"

namespace pointops {
namespace {

constexpr int kStretch = 8;       // query blocks that share a list
constexpr float kSlack = 2.0f;    // guessed squared reach over the largest squared distance of the last stretch
constexpr int kManyLeaves = 100;  // the walk gives up here, or at the lower number after two groups that gave up
constexpr int kFewLeaves = 16;

struct Side {
  const Tree& queries;
  const Tree& cloud;
  int32_t start;  // first row of the cloud's scene
  uint64_t* found;  // squared distance and row of each query: written anywhere, so both at once
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

// The results of a group, whose bounds are only a start for each query on its own if the group gave up.
void write_results(const Side& side, const QueryGroup& group, int64_t begin, int64_t end, bool gave_up) {
  float best[W];
  int32_t place[W];
  store(best, group.best);
  store(place, group.place);
  for (int64_t b = begin; b < end; ++b) {
    const float* q = side.queries.block(b);
    for (int i = 0; i < side.queries.size(b); ++i) {
      const int lane = static_cast<int>(b - begin) * kLeaf + i;
      int32_t row = side.cloud.row[place[lane]];
      if (gave_up) {
        Alone search{side.cloud, q[i], q[8 + i], q[16 + i], best[lane], row};
        search.descend(side.cloud.top(), 0);
        best[lane] = search.best;
        row = search.row;
      }
      side.found[side.queries.rows(b)[i]] = key_of(best[lane], side.start + row);
    }
  }
}

// What of the cloud is within `reach2` (squared) of a stretch of query blocks.
void collect(NearNodes& near, const Side& side, int64_t begin, int64_t end, float reach2) {
  Box box;
  for (int64_t b = begin; b < end; ++b) {
    const Box one = side.queries.box(b);
    for (int a = 0; a < 3; ++a) {
      box.low[a] = std::min(box.low[a], one.low[a]);
      box.high[a] = std::max(box.high[a], one.high[a]);
    }
  }
  near.collect(side.cloud, box, reach2);
}

// Query blocks [begin, end).
void one_way(const Side& side, int64_t begin, int64_t end) {
  QueryGroup group(side.cloud);
  NearNodes near;
  float farthest = -1;  // largest squared distance found in the last stretch
  int32_t last[W];      // places of the last matches
  int misses = 0;       // groups in a row that gave up
  for (int64_t b = begin; b < end; b += QueryGroup::kBlocks) {
    group.load_queries(side.queries, b);
    const int64_t next = std::min(b + QueryGroup::kBlocks, end);
    for (int64_t p = b; p < next; ++p)  // the results lie anywhere
      for (int i = 0; i < side.queries.size(p); ++i) prefetch_write(side.found + side.queries.rows(p)[i]);
    if (b > begin) {
      for (int i = 3; i < W; i += 4) group.offer(side.cloud.block(last[i] / kLeaf) + last[i] % kLeaf, last[i]);
      group.best = next_up(group.best);  // so that meeting the same points again is not a tie
    }
    if ((b - begin) % kStretch == 0) {
      near.reach2 = -1;
      if (farthest >= 0 && !misses) collect(near, side, b, std::min(b + kStretch, end), farthest * kSlack);
      farthest = -1;
    }
    const int most_leaves = misses < 2 ? kManyLeaves : kFewLeaves;
    const bool done = (near.reach2 >= 0 && group.search(near, most_leaves)) || group.walk(most_leaves);
    misses = done ? 0 : misses + 1;
    farthest = std::max(farthest, highest(group.best));
    store(last, group.place);
    write_results(side, group, b, next, !done);
  }
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_nearest_pair(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                                     const float* other, const int64_t* other_ends, const void* other_index, int threads,
                                     float* distance2, int32_t* idx, float* other_distance2, int32_t* other_idx) {
  return guarded([&]() -> int {
    if (!index && !all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    if (!other_index && !all_good(other, scenes ? other_ends[scenes - 1] : 0)) return POINTOPS_BAD_QUERY;
    std::vector<Tree> own(2 * scenes);
    parallel_for(threads, 2 * scenes, 1, [&](int64_t low, int64_t high) {
      for (int64_t t = low; t < high; ++t) {
        const int64_t s = t / 2, *e = t % 2 ? other_ends : ends, start = s ? e[s - 1] : 0;
        if (!(t % 2 ? other_index : index) && e[s] > start) own[t].build((t % 2 ? other : xyz) + 3 * start, e[s] - start);
      }
    });
    const auto tree = [&](int64_t t) -> const Tree& {
      const void* given = t % 2 ? other_index : index;
      return given ? static_cast<const Index*>(given)->trees[t / 2] : own[t];
    };
    for (int64_t t = 0; t < 2 * scenes; t += other_distance2 ? 1 : 2) {
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
      Array<uint64_t> found(mine[s] - from);
      const Side side{tree(t), tree(back ? t - 1 : t + 1), static_cast<int32_t>(start), found.data()};
      parallel_for(threads, side.queries.blocks, 256, [&](int64_t begin, int64_t end) { one_way(side, begin, end); });
      for (int64_t i = 0; i < found.size(); ++i) {
        out[i] = float_of(static_cast<uint32_t>(found[i] >> 32));
        out_idx[i] = static_cast<int32_t>(found[i] & 0xFFFFFFFF);
      }
    }
    return POINTOPS_OK;
  });
}
