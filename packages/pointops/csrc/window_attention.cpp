// Attention over variable-length key lists with position tables: one pass over the pairs of each query, all heads of a pair
// at once, nothing of the size (pairs, heads, width) in memory.
#include "features.h"

#include "rows.hpp"
#include "simd.hpp"

namespace pointops {
namespace {

constexpr int64_t kChunks = 32;  // of the queries, each with table gradients of its own: a number that threads do not change

struct Problem {
  const float *query, *key, *value;
  const float *query_table, *key_table, *value_table;  // (heads, 3, length, width)
  const int64_t* ends;
  const int32_t* keys;
  const uint8_t* bins;
  int64_t points, heads, width, length;

  int64_t first(int64_t i) const { return i ? ends[i - 1] : 0; }
  int64_t row() const { return heads * width; }
};

// The three table rows of a pair, for one head.
struct Place {
  int64_t x, y, z;
  Place(const Problem& p, const uint8_t* bin, int64_t head, int64_t width)
      : x(((head * 3 + 0) * p.length + bin[0]) * width),
        y(((head * 3 + 1) * p.length + bin[1]) * width),
        z(((head * 3 + 2) * p.length + bin[2]) * width) {}
};

// What is done with the vectors of one pair and one head. T(at) stands for the sum of the pair's three table rows.
struct AnyWidth {
  int64_t width;

  float t(const float* table, const Place& at, int64_t d) const {
    return (table[at.x + d] + table[at.y + d]) + table[at.z + d];
  }
  // q . (k + Tq) + k . Tk
  float logit(const float* q, const float* k, const float* query_table, const float* key_table, const Place& at) const {
    float sum = 0.0f;
    for (int64_t d = 0; d < width; ++d)
      sum += q[d] * (k[d] + t(query_table, at, d)) + k[d] * t(key_table, at, d);
    return sum;
  }
  // g . (v + T)
  float slope(const float* g, const float* v, const float* table, const Place& at) const {
    float sum = 0.0f;
    for (int64_t d = 0; d < width; ++d) sum += g[d] * (v[d] + t(table, at, d));
    return sum;
  }
  // into += w * (row + T)
  void add(float* into, float w, const float* row, const float* table, const Place& at) const {
    for (int64_t d = 0; d < width; ++d) into[d] += w * (row[d] + t(table, at, d));
  }
  void add(float* into, float w, const float* row) const {
    for (int64_t d = 0; d < width; ++d) into[d] += w * row[d];
  }
};

// The same for heads of 16 channels, as two vectors of 8.
struct Sixteen {
  static constexpr int64_t width = 16;
  struct Pair {
    F8 low, high;
  };

  explicit Sixteen(int64_t) {}
  static Pair load(const float* p) { return {load8(p), load8(p + 8)}; }
  static Pair add2(const Pair& a, const Pair& b) { return {a.low + b.low, a.high + b.high}; }
  static Pair times(const Pair& a, const Pair& b) { return {a.low * b.low, a.high * b.high}; }
  static Pair t(const float* table, const Place& at) {
    return add2(add2(load(table + at.x), load(table + at.y)), load(table + at.z));
  }
  static float sum(const Pair& a) {
    float lanes[8];
    store8(lanes, a.low + a.high);
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
  static void add_to(float* into, float w, const Pair& row) {
    store8(into, load8(into) + all8(w) * row.low);
    store8(into + 8, load8(into + 8) + all8(w) * row.high);
  }
  float logit(const float* q, const float* k, const float* query_table, const float* key_table, const Place& at) const {
    const Pair key = load(k);
    return sum(add2(times(load(q), add2(key, t(query_table, at))), times(key, t(key_table, at))));
  }
  float slope(const float* g, const float* v, const float* table, const Place& at) const {
    return sum(times(load(g), add2(load(v), t(table, at))));
  }
  void add(float* into, float w, const float* row, const float* table, const Place& at) const {
    add_to(into, w, add2(load(row), t(table, at)));
  }
  void add(float* into, float w, const float* row) const { add_to(into, w, load(row)); }
};

// Key rows lie anywhere in memory: those of the pairs to come are fetched early.
POINTOPS_INLINE void fetch(const Problem& p, const float* rows, int64_t pair, int64_t pairs) {
  constexpr int64_t kAhead = 8;
  if (pair + kAhead >= pairs) return;
  const float* row = rows + p.keys[pair + kAhead] * p.row();
  for (int64_t c = 0; c < p.row(); c += 16) prefetch(row + c);
}

void softmax(float* x, int64_t count, int64_t heads, std::vector<float>& scratch) {
  scratch.assign(heads, 0.0f);
  float* POINTOPS_RESTRICT s = scratch.data();
  std::copy(x, x + heads, s);
  for (int64_t p = 1; p < count; ++p)
    for (int64_t h = 0; h < heads; ++h) s[h] = x[p * heads + h] > s[h] ? x[p * heads + h] : s[h];
  for (int64_t p = 0; p < count; ++p)
    for (int64_t h = 0; h < heads; ++h) x[p * heads + h] -= s[h];
  exp_nonpositive(x, count * heads);
  std::fill(s, s + heads, 0.0f);
  for (int64_t p = 0; p < count; ++p)
    for (int64_t h = 0; h < heads; ++h) s[h] += x[p * heads + h];
  for (int64_t p = 0; p < count; ++p)
    for (int64_t h = 0; h < heads; ++h) x[p * heads + h] /= s[h];
}

template <class Lanes>
void attend(const Problem& p, int64_t begin, int64_t end, float* weight, float* out) {
  const Lanes lanes{p.width};
  const int64_t width = lanes.width, pairs = p.ends[p.points - 1];
  std::vector<float> scratch;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t low = p.first(i), high = p.ends[i];
    const float* q = p.query + i * p.row();
    float* w = weight + low * p.heads;
    for (int64_t a = low; a < high; ++a) {
      fetch(p, p.key, a, pairs);
      fetch(p, p.value, a, pairs);
      const float* k = p.key + p.keys[a] * p.row();
      for (int64_t h = 0; h < p.heads; ++h)
        w[(a - low) * p.heads + h] = lanes.logit(q + h * width, k + h * width, p.query_table, p.key_table,
                                                 Place(p, p.bins + 3 * a, h, width));
    }
    float* o = out + i * p.row();
    std::fill(o, o + p.row(), 0.0f);
    if (high == low) continue;
    softmax(w, high - low, p.heads, scratch);
    for (int64_t a = low; a < high; ++a) {
      const float* v = p.value + p.keys[a] * p.row();
      for (int64_t h = 0; h < p.heads; ++h)
        lanes.add(o + h * width, w[(a - low) * p.heads + h], v + h * width, p.value_table,
                  Place(p, p.bins + 3 * a, h, width));
    }
  }
}

struct Gradients {
  float *query, *key, *value;
};

// Slopes of the logits, the gradient of the queries, and one chunk's share of the tables' gradients.
template <class Lanes>
void back_to_queries(const Problem& p, int64_t begin, int64_t end, const float* grad, const float* weight, float* slope,
                     const Gradients& out, bool alone, float* tables) {
  const Lanes lanes{p.width};
  const int64_t width = lanes.width, table = p.heads * 3 * p.length * width, pairs = p.ends[p.points - 1];
  std::vector<float> mean(p.heads);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t low = p.first(i), high = p.ends[i];
    const float *q = p.query + i * p.row(), *g = grad + i * p.row();
    std::fill(mean.begin(), mean.end(), 0.0f);
    for (int64_t a = low; a < high; ++a) {
      fetch(p, p.value, a, pairs);
      fetch(p, p.key, a, pairs);
      const float* v = p.value + p.keys[a] * p.row();
      for (int64_t h = 0; h < p.heads; ++h) {
        const float s = lanes.slope(g + h * width, v + h * width, p.value_table, Place(p, p.bins + 3 * a, h, width));
        slope[a * p.heads + h] = s;
        mean[h] += s * weight[a * p.heads + h];
      }
    }
    float* dq = out.query + i * p.row();
    std::fill(dq, dq + p.row(), 0.0f);
    for (int64_t a = low; a < high; ++a) {
      if (alone) {
        fetch(p, out.key, a, pairs);
        fetch(p, out.value, a, pairs);
      }
      const float* k = p.key + p.keys[a] * p.row();
      for (int64_t h = 0; h < p.heads; ++h) {
        const Place at(p, p.bins + 3 * a, h, width);
        const float w = weight[a * p.heads + h], s = w * (slope[a * p.heads + h] - mean[h]);
        slope[a * p.heads + h] = s;
        const float *qh = q + h * width, *kh = k + h * width, *gh = g + h * width;
        lanes.add(dq + h * width, s, kh, p.query_table, at);
        for (const int64_t row : {at.x, at.y, at.z}) {
          lanes.add(tables + row, s, qh);
          lanes.add(tables + table + row, s, kh);
          lanes.add(tables + 2 * table + row, w, gh);
        }
        if (!alone) continue;
        const int64_t there = p.keys[a] * p.row() + h * width;
        lanes.add(out.key + there, s, qh, p.key_table, at);
        lanes.add(out.value + there, w, gh);
      }
    }
  }
}

// The gradients of keys and values low..high-1, in the order of the pairs.
template <class Lanes>
void back_to_keys(const Problem& p, int32_t low, int32_t high, const float* grad, const float* weight,
                  const float* slope, const Gradients& out) {
  const Lanes lanes{p.width};
  for (int64_t i = 0; i < p.points; ++i)
    for (int64_t a = p.first(i); a < p.ends[i]; ++a) {
      if (p.keys[a] < low || p.keys[a] >= high) continue;
      for (int64_t h = 0; h < p.heads; ++h) {
        const Place at(p, p.bins + 3 * a, h, lanes.width);
        const int64_t here = i * p.row() + h * lanes.width, there = p.keys[a] * p.row() + h * lanes.width;
        lanes.add(out.key + there, slope[a * p.heads + h], p.query + here, p.key_table, at);
        lanes.add(out.value + there, weight[a * p.heads + h], grad + here);
      }
    }
}

bool good(const Problem& p) {
  const int64_t pairs = p.points ? p.ends[p.points - 1] : 0;
  for (int64_t a = 0; a < pairs; ++a)
    if (p.keys[a] < 0 || p.keys[a] >= p.points) return false;
  for (int64_t b = 0; b < 3 * pairs; ++b)
    if (p.bins[b] >= p.length) return false;
  return true;
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_window_attention(const float* query, const float* key, const float* value,
                                         const float* query_table, const float* key_table, const float* value_table,
                                         const int64_t* ends, const int32_t* keys, const uint8_t* bins, int64_t points,
                                         int64_t heads, int64_t width, int64_t length, int threads, float* weight,
                                         float* out) {
  return no_throw([&]() -> int {
    const Problem p{query, key,  value, query_table, key_table, value_table, ends,
                    keys,  bins, points, heads,      width,     length};
    if (!good(p)) return POINTOPS_BAD_INDEX;
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      width == 16 ? attend<Sixteen>(p, begin, end, weight, out) : attend<AnyWidth>(p, begin, end, weight, out);
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_window_attention_backward(
    const float* grad, const float* weight, const float* query, const float* key, const float* value,
    const float* query_table, const float* key_table, const float* value_table, const int64_t* ends,
    const int32_t* keys, const uint8_t* bins, int64_t points, int64_t heads, int64_t width, int64_t length, int threads,
    float* query_grad, float* key_grad, float* value_grad, float* table_grads) {
  return no_throw([&]() -> int {
    const Problem p{query, key,  value, query_table, key_table, value_table, ends,
                    keys,  bins, points, heads,      width,     length};
    if (!good(p)) return POINTOPS_BAD_INDEX;
    const bool alone = threads <= 1;
    const int64_t tables = 3 * heads * 3 * length * width, chunk = (points + kChunks - 1) / kChunks;
    const int64_t chunks = chunk ? (points + chunk - 1) / chunk : 0;
    std::vector<float> slope((points ? ends[points - 1] : 0) * heads), partial(chunks * tables, 0.0f);
    std::fill(key_grad, key_grad + points * heads * width, 0.0f);
    std::fill(value_grad, value_grad + points * heads * width, 0.0f);
    std::fill(table_grads, table_grads + tables, 0.0f);
    const Gradients out{query_grad, key_grad, value_grad};
    parallel_for(threads, chunks, 1, [&](int64_t first, int64_t last) {
      for (int64_t c = first; c < last; ++c) {
        const int64_t begin = c * chunk, end = std::min(points, begin + chunk);
        float* share = partial.data() + c * tables;
        width == 16 ? back_to_queries<Sixteen>(p, begin, end, grad, weight, slope.data(), out, alone, share)
                    : back_to_queries<AnyWidth>(p, begin, end, grad, weight, slope.data(), out, alone, share);
      }
    });
    for (int64_t c = 0; c < chunks; ++c) add(table_grads, partial.data() + c * tables, tables);
    if (alone) return POINTOPS_OK;
    parallel_for(threads, threads, 1, [&](int64_t first, int64_t last) {
      const int32_t low = static_cast<int32_t>(points * first / threads);
      const int32_t high = static_cast<int32_t>(points * last / threads);
      width == 16 ? back_to_keys<Sixteen>(p, low, high, grad, weight, slope.data(), out)
                  : back_to_keys<AnyWidth>(p, low, high, grad, weight, slope.data(), out);
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}
