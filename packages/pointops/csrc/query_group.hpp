// W consecutive queries of the curve that look for their nearest point together: one lane each.
#pragma once
#include "near_nodes.hpp"

namespace pointops {

struct QueryGroup {
  static constexpr int kBlocks = W / kLeaf;  // query blocks in a group

  const Tree& cloud;
  FW x, y, z, best;  // the squared distance of the best so far
  IW place;          // and its place in the cloud's blocks; -1: none
  Box box;

  explicit QueryGroup(const Tree& cloud_) : cloud(cloud_) {}

  void load_queries(const Blocks& queries, int64_t block) {
    float lanes[3][W];
    for (int p = 0; p < kBlocks; ++p) {
      const int64_t b = std::min(block + p, queries.blocks - 1);  // a missing block repeats the last
      const int n = queries.size(b);
      for (int a = 0; a < 3; ++a) {
        const float* q = queries.block(b) + 8 * a;
        float* out = lanes[a] + p * kLeaf;
        store8(out, load8(q));
        for (int i = n; i < kLeaf; ++i) out[i] = q[n - 1];  // a missing query repeats the last
      }
    }
    x = load(lanes[0]);
    y = load(lanes[1]);
    z = load(lanes[2]);
    box = {{lowest(x), lowest(y), lowest(z)}, {highest(x), highest(y), highest(z)}};
    best = all(FLT_MAX);
    place = all(int32_t{-1});
  }

  // A point of the cloud (x at p, y and z a block's width further) and its place. Equal distances are rare: the branch
  // leaves them out of the chain of dependent steps.
  inline void offer(const float* p, int32_t at) {
    const FW d2 = square_sum(all(p[0]) - x, all(p[8]) - y, all(p[16]) - z);
    const Lanes closer = less(d2, best), tied = equal(d2, best);
    best = min(d2, best);
    place = select(closer, all(at), place);
    if (any(tied)) settle(d2, at);
  }

  // Looks at what is listed; false if the list does not reach far enough, or after too many leaves. best and place are then
  // upper bounds.
  bool search(const NearNodes& near, int most_leaves) {
    const NearNodes::List& list = near.list();
    float bound[NearNodes::kStride];
    const FW zero = all(0.0f);
    FW least = all(FLT_MAX);
    for (int i = 0; i < list.count; i += W) {
      const FW dx = max(max(load(list.box[0] + i) - all(box.high[0]), all(box.low[0]) - load(list.box[3] + i)), zero);
      const FW dy = max(max(load(list.box[1] + i) - all(box.high[1]), all(box.low[1]) - load(list.box[4] + i)), zero);
      const FW dz = max(max(load(list.box[2] + i) - all(box.high[2]), all(box.low[2]) - load(list.box[5] + i)), zero);
      const FW b = square_sum(dx, dy, dz);
      store(bound + i, b);
      least = min(least, b);
    }
    // The nearest first (those that overlap the group's box are all at distance 0), then what is still near.
    const FW first = all(lowest(least));
    int leaves = 0;
    float most = highest(best);
    for (bool rest : {false, true})
      for (int i = 0; i < list.count; i += W) {
        const FW b = load(bound + i);
        Mask open = rest ? (first < b) & (b <= all(most)) : b <= first;
        if (!open) continue;
        for (; open; open &= open - 1) {
          const int c = i + lowest_bit(open);
          if (!useful(list.box[0] + c, NearNodes::kStride)) continue;
          if (near.level < 0)
            visit(int64_t{list.node[c]});
          else if (!walk(near.level, list.node[c], leaves, most_leaves))
            return false;
        }
        most = highest(best);
      }
    return most <= near.reach2;
  }

  // Walks down from the root; false when it gave up. best and place are then upper bounds.
  bool walk(int most_leaves) {
    int leaves = 0;
    return walk(cloud.top(), 0, leaves, most_leaves);
  }

 private:
  // Walks down from a node, the nearest child first; false when it has visited too many leaves.
  bool walk(int level, int64_t node, int& leaves, int most_leaves) {
    const float* boxes = cloud.levels[level].node(node);
    const F8 b = bounds(boxes, box);
    float bound[8];
    store8(bound, b);
    for (Mask open = b <= all8(highest(best)); open;) {
      int c = lowest_bit(open);
      for (Mask rest = open & (open - 1); rest; rest &= rest - 1)
        if (bound[lowest_bit(rest)] < bound[c]) c = lowest_bit(rest);
      open &= ~(Mask{1} << c);
      if (!useful(boxes + c, 8)) continue;
      if (level) {
        if (!walk(level - 1, node * 8 + c, leaves, most_leaves)) return false;
      } else {
        if (++leaves > most_leaves) return false;
        visit(node * 8 + c);
      }
    }
    return true;
  }

  // Whether any query can find something in a box, whose six sides lie `stride` apart.
  inline bool useful(const float* side, int stride) const {
    const FW zero = all(0.0f);
    const FW dx = max(max(all(side[0]) - x, x - all(side[3 * stride])), zero);
    const FW dy = max(max(all(side[stride]) - y, y - all(side[4 * stride])), zero);
    const FW dz = max(max(all(side[2 * stride]) - z, z - all(side[5 * stride])), zero);
    return any(less_equal(square_sum(dx, dy, dz), best));
  }

  inline void visit(int64_t leaf) {
    const float* p = cloud.block(leaf);
    for (int i = 0; i < kLeaf; ++i) offer(p + i, static_cast<int32_t>(leaf * kLeaf) + i);
  }

  // Where a point is as far as the best, the lower row wins.
  void settle(const FW& d2, int32_t at) {
    int32_t lanes[W];
    store(lanes, place);
    for (Mask tied = d2 == best; tied; tied &= tied - 1) {
      int32_t& lane = lanes[lowest_bit(tied)];
      if (cloud.row[at] < cloud.row[lane]) lane = at;
    }
    place = load(lanes);
  }
};

}  // namespace pointops
