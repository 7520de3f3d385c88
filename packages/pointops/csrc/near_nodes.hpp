// The part of a cloud near a stretch of queries: the groups of the stretch start here instead of each at the root, which
// costs more the larger the cloud is.
#pragma once
#include "search.hpp"

namespace pointops {

// All nodes of one level, or leaves, within a reach of the stretch, with a copy of their boxes.
struct NearNodes {
  static constexpr int kMost = 128;
  static constexpr int kStride = kMost + 8 + W;
  struct List {
    float box[6][kStride];  // low x, y, z, high x, y, z
    int32_t node[kStride];
    int count = 0;
  };

  int level = 0;      // of the nodes; -1: leaves
  float reach2 = -1;  // squared; negative: there is no list
  const List& list() const { return lists_[now_]; }

  // Lists the lowest level at which at most kMost are within the squared reach of the box (the root has but 8 children).
  void collect(const Tree& cloud, const Box& around, float within2) {
    reach2 = within2;
    level = cloud.top();
    lists_[now_].count = 1;
    lists_[now_].node[0] = 0;
    for (; level >= 0 && expand(cloud, around, lists_[now_], lists_[1 - now_]); --level) now_ = 1 - now_;
    for (int a = 0; a < 6; ++a)  // the last vector may read past the end
      store(lists_[now_].box[a] + lists_[now_].count, all(a < 3 ? kFar : -kFar));
  }

 private:
  // The children within reach; false when there are too many.
  bool expand(const Tree& cloud, const Box& around, const List& from, List& into) const {
    static const int32_t kLanes[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const F8 limit = all8(reach2);
    into.count = 0;
    for (int i = 0; i < from.count; ++i) {
      const float* node = cloud.levels[level].node(from.node[i]);
      const Mask near = bounds(node, around) <= limit;
      for (int a = 0; a < 6; ++a) compress8_store(into.box[a] + into.count, load8(node + 8 * a), near);
      compress8_store(into.node + into.count, load8(kLanes) + all8(8 * from.node[i]), near);
      into.count += popcount(near);
      if (into.count > kMost) return false;
    }
    return true;
  }

  List lists_[2];
  int now_ = 0;
};

}  // namespace pointops
