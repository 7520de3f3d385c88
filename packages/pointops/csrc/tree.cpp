#include "tree.hpp"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>

#include "parallel.hpp"
#include "search.hpp"

namespace pointops {

namespace {

// Hilbert curve in 3-D after C. Hamilton, "Compact Hilbert Indices" (2006): the state is the entry corner (3 bits) and
// the direction (0, 1, 2) of the current cube; one step turns an octant into its rank along the curve and the next state.
// Two levels are joined, so that a step eats 2 bits of each axis: rank (6 bits) and next state (5 bits) in one entry.
struct HilbertTable {
  uint16_t step[24 * 64];

  static unsigned rotate_left(unsigned b, unsigned d) { return (b << d | b >> (3 - d)) & 7; }
  static unsigned rotate_right(unsigned b, unsigned d) { return (b >> d | b << (3 - d)) & 7; }

  static unsigned advance(unsigned& entry, unsigned& direction, unsigned octant) {
    const unsigned turn = (direction + 1) % 3;
    unsigned w = rotate_right(octant ^ entry, turn);
    w ^= w >> 1;
    w ^= w >> 2;  // inverse Gray code of 3 bits
    const auto trailing_ones = [](unsigned i) {
      unsigned n = 0;
      while (i & 1) i >>= 1, ++n;
      return n;
    };
    unsigned corner = 0, axis = 0;
    if (w > 0) {
      const unsigned even = (w - 1) / 2 * 2;
      corner = even ^ even >> 1;
      axis = (w % 2 ? trailing_ones(w) : trailing_ones(w - 1)) % 3;
    }
    entry ^= rotate_left(corner, turn);
    direction = (direction + axis + 1) % 3;
    return w;
  }

  HilbertTable() {
    for (unsigned state = 0; state < 24; ++state)
      for (unsigned pair = 0; pair < 64; ++pair) {
        unsigned entry = state % 8, direction = state / 8;
        const unsigned high = advance(entry, direction, pair >> 3), low = advance(entry, direction, pair & 7);
        step[state * 64 + pair] = static_cast<uint16_t>((direction * 8 + entry) << 6 | high << 3 | low);
      }
  }
};
const HilbertTable hilbert;

// Bits b0..b9 to places 0, 3, 6, ...
inline uint32_t spread(uint32_t v) {
  v = (v | v << 16) & 0x030000FF;
  v = (v | v << 8) & 0x0300F00F;
  v = (v | v << 4) & 0x030C30C3;
  v = (v | v << 2) & 0x09249249;
  return v;
}

template <int kSteps>
inline uint64_t hilbert_key(uint64_t morton) {
  uint64_t key = 0;
  unsigned state = 0;  // times 64
  for (int s = kSteps - 1; s >= 0; --s) {
    const unsigned entry = hilbert.step[state | (morton >> 6 * s & 63)];
    key = key << 6 | (entry & 63);
    state = entry & ~63u;
  }
  return key;
}

constexpr int64_t kChunk = 128;  // points whose cells are computed in one vectorised loop

// How finely and in which digits `count` keys are sorted: about as many cells as a surface of that many points fills.
struct Resolution {
  int steps;   // of 2 bits per axis
  int digit;   // bits per pass
  int passes;
};
inline Resolution resolution(int64_t count) {
  if (count <= 256) return {3, 6, 3};
  if (count <= 120000) return {4, 8, 3};
  return {5, 10, 3};
}

Box box_of(const float* xyz, int64_t count) {
  // Three vectors of 8 hold the axes in turn: lane j of vector v is axis (8 v + j) mod 3.
  F8 low[3], high[3];
  for (int v = 0; v < 3; ++v) low[v] = all8(kFar), high[v] = all8(-kFar);
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int v = 0; v < 3; ++v) {
      const F8 values = load8(xyz + 3 * i + 8 * v);
      low[v] = min(low[v], values);
      high[v] = max(high[v], values);
    }
  float lanes[2][24];
  for (int v = 0; v < 3; ++v) store8(lanes[0] + 8 * v, low[v]), store8(lanes[1] + 8 * v, high[v]);
  Box box;
  for (int j = 0; j < 24; ++j) {
    box.low[j % 3] = std::min(box.low[j % 3], lanes[0][j]);
    box.high[j % 3] = std::max(box.high[j % 3], lanes[1][j]);
  }
  for (; i < count; ++i)
    for (int a = 0; a < 3; ++a) {
      box.low[a] = std::min(box.low[a], xyz[3 * i + a]);
      box.high[a] = std::max(box.high[a], xyz[3 * i + a]);
    }
  return box;
}

template <int kSteps>
void keys_of(const float* xyz, int64_t count, const Box& box, float scale, uint64_t* keyed) {
  float low[3 * kChunk];
  for (int i = 0; i < 3 * kChunk; ++i) low[i] = box.low[i % 3];
  int32_t cell[3 * kChunk];
  uint32_t morton[kChunk];
  for (int64_t start = 0; start < count; start += kChunk) {
    const int n = static_cast<int>(std::min(kChunk, count - start));
    const float* p = xyz + 3 * start;
    for (int i = 0; i < 3 * n; ++i) {
      const int32_t c = static_cast<int32_t>((p[i] - low[i]) * scale);
      cell[i] = c > (1 << 2 * kSteps) - 1 ? (1 << 2 * kSteps) - 1 : c;
    }
    for (int i = 0; i < n; ++i)
      morton[i] = spread(cell[3 * i]) | spread(cell[3 * i + 1]) << 1 | spread(cell[3 * i + 2]) << 2;
    for (int i = 0; i < n; ++i)
      keyed[start + i] = hilbert_key<kSteps>(morton[i]) << 32 | static_cast<uint64_t>(start + i);
  }
}

// Sorts by the key in the upper half, stable; `other` is of the same length, `place` has room for a count per digit.
void radix_sort(Array<uint64_t>& keyed, Array<uint64_t>& other, int64_t count, const Resolution& how) {
  const uint32_t digits = 1u << how.digit;
  std::vector<uint32_t> place(digits * how.passes, 0);
  for (int64_t i = 0; i < count; ++i)
    for (int p = 0; p < how.passes; ++p) ++place[p * digits + (keyed[i] >> (32 + how.digit * p) & (digits - 1))];
  for (int p = 0; p < how.passes; ++p) {
    uint32_t* slot = place.data() + p * digits;
    uint32_t sum = 0;
    bool trivial = false;
    for (uint32_t d = 0; d < digits; ++d) {
      trivial = trivial || slot[d] == static_cast<uint64_t>(count);
      const uint32_t here = slot[d];
      slot[d] = sum;
      sum += here;
    }
    if (trivial) continue;
    const int shift = 32 + how.digit * p;
    for (int64_t i = 0; i < count; ++i) other[slot[keyed[i] >> shift & (digits - 1)]++] = keyed[i];
    keyed.swap(other);
  }
}

constexpr int64_t kLongRun = 64;  // points of one cell that are worth a curve of their own

// Rows in curve order, in the lower halves; a stable sort, so that equal cells keep their row order.
void curve_order(const float* xyz, int64_t count, Array<uint64_t>& keyed) {
  const Box box = box_of(xyz, count);
  // The cells are cubes: the curve should not stretch a flat room. Doubles keep huge extents finite.
  double side = 0;
  for (int a = 0; a < 3; ++a) side = std::max(side, double(box.high[a]) - double(box.low[a]));
  const Resolution how = resolution(count);
  const bool flat = !(side > 1e-30);
  const float scale = flat ? 0.0f : static_cast<float>(((1 << 2 * how.steps) - 0.5) / side);
  keyed.resize(count);
  switch (how.steps) {
    case 3: keys_of<3>(xyz, count, box, scale, keyed.data()); break;
    case 4: keys_of<4>(xyz, count, box, scale, keyed.data()); break;
    default: keys_of<5>(xyz, count, box, scale, keyed.data()); break;
  }
  if (flat) return;
  Array<uint64_t> other;
  other.resize(count);
  radix_sort(keyed, other, count, how);
  // A cell that holds many points (one far outlier stretches the cells) is sorted by cells of its own.
  for (int64_t i = 0; i < count;) {
    int64_t end = i + 1;
    while (end < count && keyed[end] >> 32 == keyed[i] >> 32) ++end;
    if (end - i > kLongRun && end - i < count) {
      std::vector<float> part(3 * (end - i));
      for (int64_t j = i; j < end; ++j)
        std::copy_n(xyz + 3 * (keyed[j] & 0xFFFFFFFF), 3, part.data() + 3 * (j - i));
      Array<uint64_t> inner;
      curve_order(part.data(), end - i, inner);
      for (int64_t j = i; j < end; ++j) other[j] = keyed[j];
      for (int64_t j = i; j < end; ++j) keyed[j] = other[i + static_cast<int64_t>(inner[j - i] & 0xFFFFFFFF)];
    }
    i = end;
  }
}

}  // namespace

constexpr int64_t kAhead = 24;  // points whose coordinates are fetched ahead of their turn

void Blocks::sort(const float* points_xyz, int64_t count) {
  points = count;
  blocks = (count + kLeaf - 1) / kLeaf;
  Array<uint64_t> order;
  curve_order(points_xyz, count, order);
  xyz.resize(blocks * 24);
  row.resize(blocks * kLeaf);
  for (int64_t b = 0; b < blocks; ++b) {
    float* block = xyz.data() + b * 24;
    for (int i = 0; i < kLeaf; ++i) {
      const int64_t place = b * kLeaf + i;
      const bool real = place < count;
      if (place + kAhead < count) prefetch(points_xyz + 3 * (order[place + kAhead] & 0xFFFFFFFF));
      const int32_t from = real ? static_cast<int32_t>(order[place] & 0xFFFFFFFF) : INT_MAX;
      row[place] = from;
      for (int a = 0; a < 3; ++a) block[8 * a + i] = real ? points_xyz[3 * int64_t{from} + a] : kFar;
    }
  }
}

Box Blocks::box(int64_t b) const {
  Box box;
  const float* p = block(b);
  const int n = size(b);
  if (n == kLeaf) {  // in pairs: a chain of eight would wait for every link
    for (int a = 0; a < 3; ++a, p += 8) {
      box.low[a] = std::min(std::min(std::min(p[0], p[1]), std::min(p[2], p[3])),
                            std::min(std::min(p[4], p[5]), std::min(p[6], p[7])));
      box.high[a] = std::max(std::max(std::max(p[0], p[1]), std::max(p[2], p[3])),
                             std::max(std::max(p[4], p[5]), std::max(p[6], p[7])));
    }
    return box;
  }
  for (int a = 0; a < 3; ++a)
    for (int i = 0; i < n; ++i) {
      box.low[a] = std::min(box.low[a], p[8 * a + i]);
      box.high[a] = std::max(box.high[a], p[8 * a + i]);
    }
  return box;
}

void Tree::build(const float* points_xyz, int64_t count) {
  sort(points_xyz, count);
  levels.clear();
  int64_t children = blocks;
  do {
    const int64_t nodes = std::max<int64_t>((children + 7) / 8, 1);
    levels.emplace_back();
    Level& level = levels.back();
    level.nodes = nodes;
    level.boxes.resize(nodes * 48);
    level.lowest_row.resize(nodes * 8);
    std::fill(level.lowest_row.data(), level.lowest_row.data() + nodes * 8, INT_MAX);
    const Level* below = levels.size() > 1 ? &levels[levels.size() - 2] : nullptr;
    for (int64_t n = 0; n < nodes; ++n) {
      float* node = level.boxes.data() + n * 48;
      std::fill(node, node + 24, kFar);
      std::fill(node + 24, node + 48, -kFar);
      for (int c = 0; c < 8 && n * 8 + c < children; ++c) {
        const int64_t child = n * 8 + c;
        int32_t& least = level.lowest_row[n * 8 + c];
        if (below) {
          const float* inner = below->node(child);
          for (int a = 0; a < 3; ++a) {
            node[8 * a + c] = lowest(load8(inner + 8 * a));
            node[24 + 8 * a + c] = highest(load8(inner + 24 + 8 * a));
          }
          least = *std::min_element(below->rows(child), below->rows(child) + 8);
        } else {
          if (size(child) == kLeaf) {
            for (int a = 0; a < 3; ++a) {
              const F8 values = load8(block(child) + 8 * a);
              node[8 * a + c] = lowest(values);
              node[24 + 8 * a + c] = highest(values);
            }
          } else {
            const Box b = box(child);
            for (int a = 0; a < 3; ++a) {
              node[8 * a + c] = b.low[a];
              node[24 + 8 * a + c] = b.high[a];
            }
          }
          least = *std::min_element(rows(child), rows(child) + kLeaf);
        }
      }
    }
    children = nodes;
  } while (children > 1);
}

Index::Index(const float* xyz, const int64_t* ends, int64_t scenes, int threads) : trees(scenes) {
  parallel_for(threads, scenes, 1, [&](int64_t low, int64_t high) {
    for (int64_t s = low; s < high; ++s) {
      const int64_t start = s ? ends[s - 1] : 0;
      if (ends[s] > start) trees[s].build(xyz + 3 * start, ends[s] - start);
    }
  });
}

}  // namespace pointops

using namespace pointops;

extern "C" int pointops_index_make(const float* xyz, const int64_t* ends, int64_t scenes, int threads, void** index) {
  return guarded([&]() -> int {
    *index = nullptr;
    if (!all_good(xyz, scenes ? ends[scenes - 1] : 0)) return POINTOPS_BAD_COORDINATE;
    *index = new Index(xyz, ends, scenes, threads);
    return POINTOPS_OK;
  });
}

extern "C" void pointops_index_free(void* index) { delete static_cast<Index*>(index); }
