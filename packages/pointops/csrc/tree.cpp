#include "tree.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <cstring>

namespace pointops {

#if defined(__AVX2__)
namespace {
struct CompressTable {
  uint32_t lane[256][8];
  CompressTable() {
    for (int m = 0; m < 256; ++m) {
      int n = 0;
      for (int i = 0; i < 8; ++i)
        if (m >> i & 1) lane[m][n++] = i;
      while (n < 8) lane[m][n++] = 0;
    }
  }
};
const CompressTable table;
}  // namespace
const uint32_t (&compress8)[256][8] = table.lane;
#endif

namespace {

constexpr int kBits = 10;  // per axis: 1,024 cells along the longest side

// Hilbert curve in 3-D after C. Hamilton, "Compact Hilbert Indices" (2006): the state is the entry corner (3 bits) and
// the direction (0, 1, 2) of the current cube; one step turns an octant into its rank along the curve and the next state.
// Two levels are joined, so that a step eats 2 bits of each axis.
struct HilbertTable {
  uint8_t rank[24][64];
  uint8_t next[24][64];

  static unsigned rotate_left(unsigned b, unsigned d) { return (b << d | b >> (3 - d)) & 7; }
  static unsigned rotate_right(unsigned b, unsigned d) { return (b >> d | b << (3 - d)) & 7; }

  static void step(unsigned& entry, unsigned& direction, unsigned octant, unsigned& rank) {
    const unsigned turn = (direction + 1) % 3;
    unsigned w = rotate_right(octant ^ entry, turn);
    w ^= w >> 1;
    w ^= w >> 2;  // inverse Gray code of 3 bits
    rank = w;
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
  }

  HilbertTable() {
    for (unsigned state = 0; state < 24; ++state)
      for (unsigned pair = 0; pair < 64; ++pair) {
        unsigned entry = state % 8, direction = state / 8, high = 0, low = 0;
        step(entry, direction, pair >> 3, high);
        step(entry, direction, pair & 7, low);
        rank[state][pair] = static_cast<uint8_t>(high << 3 | low);
        next[state][pair] = static_cast<uint8_t>(direction * 8 + entry);
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

inline uint32_t hilbert_key(uint32_t morton) {
  uint32_t key = 0;
  unsigned state = 0;
  for (int shift = 24; shift >= 0; shift -= 6) {
    const unsigned pair = morton >> shift & 63;
    key = key << 6 | hilbert.rank[state][pair];
    state = hilbert.next[state][pair];
  }
  return key;
}

Box box_of(const float* xyz, int64_t count) {
  Box box;
  for (int64_t i = 0; i < count; ++i)
    for (int a = 0; a < 3; ++a) {
      box.low[a] = std::min(box.low[a], xyz[3 * i + a]);
      box.high[a] = std::max(box.high[a], xyz[3 * i + a]);
    }
  return box;
}

// Rows in curve order; a stable sort, so that equal cells keep their row order.
void curve_order(const float* xyz, int64_t count, std::vector<uint64_t>& keyed) {
  const Box box = box_of(xyz, count);
  // The cells are cubes: the curve should not stretch a flat room. Doubles keep huge extents finite.
  double side = 0;
  for (int a = 0; a < 3; ++a) side = std::max(side, double(box.high[a]) - double(box.low[a]));
  const float scale = side > 1e-30 ? static_cast<float>(((1 << kBits) - 0.5) / side) : 0.0f;
  keyed.resize(count);
  std::vector<uint64_t> other(count);
  constexpr int kPasses = 3;
  static_assert(3 * kBits == 30, "three passes of 10 bits");
  std::array<std::array<uint32_t, 1024>, kPasses> place{};
  for (int64_t i = 0; i < count; ++i) {
    uint32_t cell[3];
    for (int a = 0; a < 3; ++a) {
      const int c = static_cast<int>((xyz[3 * i + a] - box.low[a]) * scale);
      cell[a] = static_cast<uint32_t>(std::min(std::max(c, 0), (1 << kBits) - 1));
    }
    const uint32_t key = hilbert_key(spread(cell[0]) | spread(cell[1]) << 1 | spread(cell[2]) << 2);
    keyed[i] = static_cast<uint64_t>(key) << 32 | static_cast<uint64_t>(i);
    for (int p = 0; p < kPasses; ++p) ++place[p][key >> (10 * p) & 1023];
  }
  for (int p = 0; p < kPasses; ++p) {
    uint32_t sum = 0;
    bool trivial = false;
    for (auto& slot : place[p]) {
      trivial = trivial || slot == static_cast<uint64_t>(count);
      const uint32_t here = slot;
      slot = sum;
      sum += here;
    }
    if (trivial) continue;
    for (int64_t i = 0; i < count; ++i) other[place[p][keyed[i] >> (32 + 10 * p) & 1023]++] = keyed[i];
    keyed.swap(other);
  }
}

}  // namespace

void Blocks::sort(const float* points_xyz, int64_t count) {
  points = count;
  blocks = (count + kLeaf - 1) / kLeaf;
  std::vector<uint64_t> order;
  curve_order(points_xyz, count, order);
  xyz.resize(blocks * 24);
  row.resize(blocks * kLeaf);
  for (int64_t b = 0; b < blocks; ++b) {
    float* block = xyz.data() + b * 24;
    for (int i = 0; i < kLeaf; ++i) {
      const int64_t place = b * kLeaf + i;
      const bool real = place < count;
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
    level.lowest_row.assign(nodes * 8, INT_MAX);
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

}  // namespace pointops
