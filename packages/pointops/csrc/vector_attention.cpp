// Point Transformer's weighted sum over neighbors: softmax, sharing of weights and gathering of values in one pass, so that
// nothing of the size (points, neighbors, channels) is written; and its gradients.
#include "features.h"

#include <type_traits>

#include "rows.hpp"

namespace pointops {
namespace {

constexpr int kTile = 16;

struct Sizes {
  int64_t neighbors, channels, shares;
  bool softmax;
  int64_t tile;  // width of the repeated weights: shares, or a multiple that is kTile

  Sizes(int64_t k, int64_t c, int64_t w, bool s) : neighbors(k), channels(c), shares(w), softmax(s), tile(w) {
    if (w < kTile && kTile % w == 0 && c % kTile == 0) tile = kTile;
  }
};

// The weights of one point: (k, shares) softmaxed, and (k, tile) with each repeated.
struct Weights {
  const Sizes& size;
  std::vector<float> own, wide, peak;

  explicit Weights(const Sizes& s) : size(s), own(s.neighbors * s.shares), wide(s.neighbors * s.tile), peak(s.shares) {}

  void read(const float* weight) {
    const int64_t k = size.neighbors, w = size.shares;
    if (k == 0) return;
    std::copy(weight, weight + k * w, own.begin());
    if (size.softmax) normalize();
    for (int64_t j = 0; j < k; ++j)
      for (int64_t t = 0; t < size.tile; t += w) std::copy(&own[j * w], &own[j * w] + w, &wide[j * size.tile + t]);
  }

  void normalize() {
    const int64_t k = size.neighbors, w = size.shares;
    float* POINTOPS_RESTRICT x = own.data();
    float* POINTOPS_RESTRICT high = peak.data();
    std::copy(x, x + w, high);
    for (int64_t j = 1; j < k; ++j)
      for (int64_t m = 0; m < w; ++m) high[m] = x[j * w + m] > high[m] ? x[j * w + m] : high[m];
    for (int64_t j = 0; j < k; ++j)
      for (int64_t m = 0; m < w; ++m) x[j * w + m] -= high[m];
    exp_nonpositive(x, k * w);
    std::fill(high, high + w, 0.0f);
    for (int64_t j = 0; j < k; ++j)
      for (int64_t m = 0; m < w; ++m) high[m] += x[j * w + m];
    for (int64_t j = 0; j < k; ++j)
      for (int64_t m = 0; m < w; ++m) x[j * w + m] /= high[m];
  }
};

// Calls body(c, t, width) for pieces of a row: channels c.. share the weights t.. of the wide row. Pieces are kTile wide
// where sizes allow, and then compiled for that width.
template <class Body>
inline void each_tile(const Sizes& size, const Body& body) {
  if (size.tile % kTile == 0) {
    for (int64_t c = 0, t = 0; c < size.channels; c += kTile, t = t + kTile == size.tile ? 0 : t + kTile)
      body(c, t, std::integral_constant<int64_t, kTile>());
  } else {
    for (int64_t c = 0; c < size.channels; ++c) body(c, c % size.tile, std::integral_constant<int64_t, 1>());
  }
}

// Results pass through a local array, which tells the compiler that nothing overlaps.
#define POINTOPS_TILE(into, expression)                        \
  {                                                            \
    float done[width.value];                                   \
    for (int l = 0; l < width.value; ++l) done[l] = expression; \
    std::memcpy(into, done, sizeof done);                      \
  }

inline void add_scaled(const Sizes& size, const float* g, const float* w, float* out) {
  each_tile(size, [&](int64_t c, int64_t t, auto width) { POINTOPS_TILE(out + c, out[c + l] + g[c + l] * w[t + l]) });
}

inline void accumulate(const Sizes& size, const float* v, const float* p, const float* w, float* out) {
  if (p)
    each_tile(size, [&](int64_t c, int64_t t, auto width) {
      POINTOPS_TILE(out + c, out[c + l] + (v[c + l] + p[c + l]) * w[t + l])
    });
  else
    add_scaled(size, v, w, out);
}

// One neighbor on the way back: slopes (tile) of its weights, and w * g for position and value where they are wanted.
inline void step_back(const Sizes& size, const float* v, const float* p, const float* w, const float* g, float* slopes,
                      float* position_grad, float* value_grad) {
  each_tile(size, [&](int64_t c, int64_t t, auto width) {
    if (p)
      POINTOPS_TILE(slopes + t, slopes[t + l] + g[c + l] * (v[c + l] + p[c + l]))
    else
      POINTOPS_TILE(slopes + t, slopes[t + l] + g[c + l] * v[c + l])
    if (position_grad) POINTOPS_TILE(position_grad + c, g[c + l] * w[t + l])
    if (value_grad) POINTOPS_TILE(value_grad + c, value_grad[c + l] + g[c + l] * w[t + l])
  });
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_aggregate(const float* value, int64_t rows, const float* position, const float* weight,
                                  const int32_t* idx, int64_t points, int64_t neighbors, int64_t channels,
                                  int64_t shares, int softmax, int threads, float* out) {
  return no_throw([&]() -> int {
    const int64_t entries = points * neighbors;
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    const Sizes size(neighbors, channels, shares, softmax != 0);
    const std::vector<float> zeros(channels, 0.0f);
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      Weights weights(size);
      for (int64_t n = begin; n < end; ++n) {
        weights.read(weight + n * neighbors * shares);
        float* o = out + n * channels;
        std::fill(o, o + channels, 0.0f);
        for (int64_t j = 0, e = n * neighbors; j < neighbors; ++j, ++e) {
          if (e + 8 < entries && idx[e + 8] >= 0) prefetch(value + idx[e + 8] * channels);
          const float* v = idx[e] < 0 ? zeros.data() : value + idx[e] * channels;
          accumulate(size, v, position ? position + e * channels : nullptr, &weights.wide[j * size.tile], o);
        }
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_aggregate_backward(const float* grad, const float* value, int64_t rows, const float* position,
                                           const float* weight, const int32_t* idx, int64_t points, int64_t neighbors,
                                           int64_t channels, int64_t shares, int softmax, int threads,
                                           float* value_grad, float* position_grad, float* weight_grad) {
  return no_throw([&]() -> int {
    const int64_t entries = points * neighbors;
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    const Sizes size(neighbors, channels, shares, softmax != 0);
    const std::vector<float> zeros(channels, 0.0f);
    const bool alone = threads <= 1;  // then the gradient of value is made on the way
    std::vector<float> kept(alone ? 0 : entries * size.tile);
    std::fill(value_grad, value_grad + rows * channels, 0.0f);
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      Weights weights(size);
      std::vector<float> slopes(neighbors * size.tile), mean(shares);
      for (int64_t n = begin; n < end; ++n) {
        weights.read(weight + n * neighbors * shares);
        const float* g = grad + n * channels;
        std::fill(slopes.begin(), slopes.end(), 0.0f);
        for (int64_t j = 0, e = n * neighbors; j < neighbors; ++j, ++e) {
          if (e + 8 < entries && idx[e + 8] >= 0) prefetch(value + idx[e + 8] * channels);
          const float* v = idx[e] < 0 ? zeros.data() : value + idx[e] * channels;
          const float* w = &weights.wide[j * size.tile];
          step_back(size, v, position ? position + e * channels : nullptr, w, g, &slopes[j * size.tile],
                    position_grad ? position_grad + e * channels : nullptr,
                    alone && idx[e] >= 0 ? value_grad + idx[e] * channels : nullptr);
          if (!alone) std::copy(w, w + size.tile, &kept[e * size.tile]);
        }
        float* d = weight_grad + n * neighbors * shares;
        std::fill(mean.begin(), mean.end(), 0.0f);
        for (int64_t j = 0; j < neighbors; ++j) {
          std::copy(&slopes[j * size.tile], &slopes[j * size.tile] + shares, d + j * shares);
          for (int64_t t = shares; t < size.tile; t += shares) add(d + j * shares, &slopes[j * size.tile + t], shares);
          for (int64_t m = 0; m < shares; ++m) mean[m] += d[j * shares + m] * weights.own[j * shares + m];
        }
        if (!size.softmax) continue;
        for (int64_t j = 0; j < neighbors; ++j)
          for (int64_t m = 0; m < shares; ++m)
            d[j * shares + m] = weights.own[j * shares + m] * (d[j * shares + m] - mean[m]);
      }
    });
    if (!alone)
      by_owner(threads, idx, entries, rows, [&](int64_t row, int64_t e) {
        add_scaled(size, grad + e / neighbors * channels, &kept[e * size.tile], value_grad + row * channels);
      });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}
