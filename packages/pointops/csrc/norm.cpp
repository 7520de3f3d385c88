// Batch normalization over rows, with the activation and the addition that follow it: two passes ahead, two passes back.
#include "norm.h"

#include <cmath>
#include <numeric>

#include "memory.hpp"
#include "rows.hpp"
#include "simd.hpp"

namespace pointops {
namespace {

constexpr int64_t kRows = 2048;  // whose sums one thread makes: their bounds are part of the result
constexpr int64_t kBlock = 32;   // wide rows that are summed in float32
constexpr int64_t kLanes = 16;   // a whole number of vectors in every build
constexpr int64_t kWide = 64, kWidest = 512;

// Narrow rows are taken several at a time, as one wide row that vectors fill: 16 rows of 3 channels are 48 lanes.
struct Layout {
  int64_t rows, channels, group = 1, width, chunks;

  Layout(int64_t r, int64_t c) : rows(r), channels(c) {
    const int64_t least = kLanes / std::gcd(c, kLanes);
    if (least * c <= kWidest)
      for (group = least; group * c < kWide;) group *= 2;
    width = group * c;
    chunks = (rows + kRows - 1) / kRows;
  }

  // `value` (channels) once for each row of a wide one.
  Array<float> widened(const float* value) const {
    Array<float> wide(width);
    for (int64_t g = 0; g < group; ++g) std::copy(value, value + channels, &wide[g * channels]);
    return wide;
  }

  // Calls body(offset, wide rows, lanes of each) for the whole wide rows of a chunk in blocks, then for what is left.
  template <class Body>
  void each_block(int64_t chunk, const Body& body) const {
    const int64_t begin = chunk * kRows, end = std::min(rows, begin + kRows), wide = (end - begin) / group;
    for (int64_t r = 0; r < wide; r += kBlock) body(begin * channels + r * width, std::min(kBlock, wide - r), width);
    const int64_t left = (end - begin) % group;
    if (left) body(end * channels - left * channels, 1, left * channels);
  }
};

// Calls body(chunk) on the threads, each chunk once.
template <class Body>
void each_chunk(int threads, const Layout& layout, const Body& body) {
  parallel_for(threads, layout.chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) body(chunk);
  });
}

// The lanes of a row in vectors of FW, the last few one by one: body works on either.
template <class Body>
POINTOPS_INLINE void each_lane(int64_t width, const Body& body) {
  int64_t w = 0;
  for (; w + W <= width; w += W) body(w, FW{});
  for (; w < width; ++w) body(w, 0.0f);
}

POINTOPS_INLINE FW read(const float* p, FW) { return load(p); }
POINTOPS_INLINE float read(const float* p, float) { return *p; }
POINTOPS_INLINE void write(float* p, FW v) { store(p, v); }
POINTOPS_INLINE void write(float* p, float v) { *p = v; }
POINTOPS_INLINE FW same(float v, FW) { return all(v); }
POINTOPS_INLINE float same(float v, float) { return v; }

// max and choose keep NaN as torch's ReLU does: it is not greater than 0, so z itself comes out, scaled.
POINTOPS_INLINE FW choose(FW z, FW yes, FW no) { return select(all(0.0f) < z, yes, no); }
POINTOPS_INLINE float choose(float z, float yes, float no) { return 0.0f < z ? yes : no; }
POINTOPS_INLINE FW floored(FW z) { return max(all(0.0f), z); }
POINTOPS_INLINE float floored(float z) { return 0.0f > z ? 0.0f : z; }

enum class Activation { kNone, kFloor, kSlope };

template <Activation A, class V>
POINTOPS_INLINE V activated(V z, V slope) {
  if (A == Activation::kNone) return z;
  if (A == Activation::kFloor) return floored(z);
  return choose(z, z, z * slope);
}

template <Activation A, class V>
POINTOPS_INLINE V turned_back(V z, V grad, V slope, V zero) {
  if (A == Activation::kNone) return grad;
  if (A == Activation::kFloor) return choose(z, grad, zero);
  return choose(z, grad, grad * slope);
}

// Calls body(activation) with the activation as a constant.
template <class Body>
void with_activation(float slope, const Body& body) {
  if (slope == 1.0f)
    body(std::integral_constant<Activation, Activation::kNone>());
  else if (slope == 0.0f)
    body(std::integral_constant<Activation, Activation::kFloor>());
  else
    body(std::integral_constant<Activation, Activation::kSlope>());
}

// Sums of a chunk: in float32 within a block, in double over the blocks.
struct Sums {
  const Layout& layout;
  Array<float> near;   // (2, width)
  Array<double> far;   // (2, width)

  explicit Sums(const Layout& l) : layout(l), near(2 * l.width), far(2 * l.width) {}

  void clear() {
    std::fill(far.data(), far.data() + far.size(), 0.0);
    std::fill(near.data(), near.data() + near.size(), 0.0f);
  }

  void flush(int64_t width) {
    for (int half = 0; half < 2; ++half) {
      float* POINTOPS_RESTRICT a = near.data() + half * layout.width;
      double* POINTOPS_RESTRICT b = far.data() + half * layout.width;
      for (int64_t w = 0; w < width; ++w) b[w] += a[w];
      std::fill(a, a + width, 0.0f);
    }
  }

  // into (2, channels): the lanes of each channel together.
  void fold(double* into) const {
    const int64_t channels = layout.channels;
    for (int half = 0; half < 2; ++half)
      for (int64_t g = 0; g < layout.group; ++g) {
        const double* POINTOPS_RESTRICT from = far.data() + half * layout.width + g * channels;
        double* POINTOPS_RESTRICT total = into + half * channels;
        for (int64_t c = 0; c < channels; ++c) total[c] = g == 0 ? from[c] : total[c] + from[c];
      }
  }
};

// Adds term(offset, lane, kind) -> {first, second} of every element of a block, four rows at a time.
template <class Term>
POINTOPS_INLINE void add_block(Sums& sums, int64_t at, int64_t rows, int64_t width, const Term& term) {
  float* one = sums.near.data();
  float* two = one + sums.layout.width;
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, at += 4 * width)
    each_lane(width, [&](int64_t w, auto kind) {
      const auto a = term(at + w, w, kind), b = term(at + width + w, w, kind);
      const auto c = term(at + 2 * width + w, w, kind), d = term(at + 3 * width + w, w, kind);
      write(one + w, read(one + w, kind) + ((a.first + b.first) + (c.first + d.first)));
      write(two + w, read(two + w, kind) + ((a.second + b.second) + (c.second + d.second)));
    });
  for (; r < rows; ++r, at += width)
    each_lane(width, [&](int64_t w, auto kind) {
      const auto a = term(at + w, w, kind);
      write(one + w, read(one + w, kind) + a.first);
      write(two + w, read(two + w, kind) + a.second);
    });
  sums.flush(width);
}

template <class V>
struct Pair {
  V first, second;
};

// Mean and summed squared distance from it of one chunk: distances are taken from the mean of its first rows.
void chunk_moments(const float* x, const Layout& layout, int64_t chunk, Sums& sums, double* mean, double* square) {
  const int64_t channels = layout.channels, begin = chunk * kRows;
  const int64_t rows = std::min(layout.rows, begin + kRows) - begin, first = std::min<int64_t>(rows, kBlock);
  std::vector<float> start(channels, 0.0f);
  for (int64_t r = 0; r < first; ++r) add(start.data(), x + (begin + r) * channels, channels);
  for (float& value : start) value /= static_cast<float>(first);
  const Array<float> shift = layout.widened(start.data());
  sums.clear();
  layout.each_block(chunk, [&](int64_t at, int64_t block, int64_t width) {
    add_block(sums, at, block, width, [&](int64_t place, int64_t lane, auto kind) {
      const auto d = read(x + place, kind) - read(shift.data() + lane, kind);
      return Pair<decltype(d + d)>{d, d * d};
    });
  });
  std::vector<double> total(2 * channels);
  sums.fold(total.data());
  for (int64_t c = 0; c < channels; ++c) {
    mean[c] = start[c] + total[c] / rows;
    square[c] = std::max(0.0, total[channels + c] - total[c] * total[c] / rows);
  }
}

// Mean and biased variance (channels each) of all rows: chunks one by one, then together by Chan's rule, in order.
std::vector<double> moments(const float* x, const Layout& layout, int threads) {
  const int64_t channels = layout.channels;
  std::vector<double> parts(layout.chunks * 2 * channels);
  parallel_for(threads, layout.chunks, 1, [&](int64_t begin, int64_t end) {
    Sums sums(layout);
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      double* part = &parts[chunk * 2 * channels];
      chunk_moments(x, layout, chunk, sums, part, part + channels);
    }
  });
  double* mean = parts.data();
  double* var = mean + channels;
  for (int64_t chunk = 1; chunk < layout.chunks; ++chunk) {
    const double before = static_cast<double>(chunk * kRows);
    const double here = static_cast<double>(std::min(layout.rows - chunk * kRows, kRows)), both = before + here;
    const double* part = &parts[chunk * 2 * channels];
    for (int64_t c = 0; c < channels; ++c) {
      const double apart = part[c] - mean[c];
      mean[c] += apart * (here / both);
      var[c] += part[channels + c] + apart * apart * (before * here / both);
    }
  }
  for (int64_t c = 0; c < channels; ++c) var[c] /= static_cast<double>(layout.rows);
  parts.resize(2 * channels);
  return parts;
}

// Lane by lane what a wide row is normalized with.
struct Affine {
  Array<float> mean, scale, bias;

  Affine(const Layout& layout, const float* m, const float* var, const float* weight, const float* shift, double eps) {
    const std::vector<float> zeros(layout.channels, 0.0f);
    std::vector<float> factor(layout.channels);
    for (int64_t c = 0; c < layout.channels; ++c)
      factor[c] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(var[c]) + eps));
    if (weight)
      for (int64_t c = 0; c < layout.channels; ++c) factor[c] *= weight[c];
    mean = layout.widened(m);
    scale = layout.widened(factor.data());
    bias = layout.widened(shift ? shift : zeros.data());
  }
};

template <Activation A>
void apply_chunk(const float* x, const float* residual, const Layout& layout, int64_t chunk, const Affine& affine,
                 float slope, float* out) {
  const float *m = affine.mean.data(), *s = affine.scale.data(), *b = affine.bias.data();
  layout.each_block(chunk, [&](int64_t at, int64_t block, int64_t width) {
    for (int64_t r = 0; r < block; ++r, at += width)
      each_lane(width, [&](int64_t w, auto kind) {
        auto z = (read(x + at + w, kind) - read(m + w, kind)) * read(s + w, kind) + read(b + w, kind);
        if (residual) z = z + read(residual + at + w, kind);
        write(out + at + w, activated<A>(z, same(slope, kind)));
      });
  });
}

// (2, channels) into `into`: sums of the gradient of z, and of it times x - mean.
template <Activation A>
void chunk_sums(const float* grad, const float* x, const float* out, const Layout& layout, int64_t chunk,
                const Affine& affine, float slope, float* grad_z, Sums& sums, double* into) {
  const float *m = affine.mean.data(), *s = affine.scale.data(), *b = affine.bias.data();
  sums.clear();
  layout.each_block(chunk, [&](int64_t at, int64_t block, int64_t width) {
    add_block(sums, at, block, width, [&](int64_t place, int64_t lane, auto kind) {
      const auto d = read(x + place, kind) - read(m + lane, kind);
      const auto z = out ? read(out + place, kind) : d * read(s + lane, kind) + read(b + lane, kind);
      const auto g = turned_back<A>(z, read(grad + place, kind), same(slope, kind), same(0.0f, kind));
      if (grad_z) write(grad_z + place, g);
      return Pair<decltype(d + d)>{g, g * d};
    });
  });
  sums.fold(into);
}

// grad_x = (gradient of z - first - (x - mean) * second) * scale
template <Activation A>
void back_chunk(const float* grad, const float* x, const Layout& layout, int64_t chunk, const Affine& affine,
                const Array<float>& first, const Array<float>& second, float slope, float* grad_x) {
  const float *m = affine.mean.data(), *s = affine.scale.data(), *b = affine.bias.data();
  layout.each_block(chunk, [&](int64_t at, int64_t block, int64_t width) {
    for (int64_t r = 0; r < block; ++r, at += width)
      each_lane(width, [&](int64_t w, auto kind) {
        const auto d = read(x + at + w, kind) - read(m + w, kind), scaled = read(s + w, kind);
        const auto z = d * scaled + read(b + w, kind);
        const auto g = turned_back<A>(z, read(grad + at + w, kind), same(slope, kind), same(0.0f, kind));
        write(grad_x + at + w, ((g - read(first.data() + w, kind)) - d * read(second.data() + w, kind)) * scaled);
      });
  });
}

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_norm(const float* x, const float* residual, int64_t rows, int64_t channels, const float* weight,
                             const float* bias, double eps, float slope, int training, int threads, float* used,
                             float* out) {
  return no_throw([&]() -> int {
    const Layout layout(rows, channels);
    if (training) {
      const std::vector<double> found = moments(x, layout, threads);
      std::copy(found.begin(), found.end(), used);
      const double unbiased = static_cast<double>(rows) / static_cast<double>(rows - 1);
      for (int64_t c = 0; c < channels; ++c) used[2 * channels + c] = static_cast<float>(found[channels + c] * unbiased);
    }
    const Affine affine(layout, used, used + channels, weight, bias, eps);
    with_activation(slope, [&](auto activation) {
      each_chunk(threads, layout, [&](int64_t chunk) {
        apply_chunk<decltype(activation)::value>(x, residual, layout, chunk, affine, slope, out);
      });
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_norm_backward(const float* grad, const float* x, const float* out, int64_t rows,
                                      int64_t channels, const float* weight, const float* bias, const float* used,
                                      double eps, float slope, int training, int threads, float* grad_x, float* grad_z,
                                      float* slopes) {
  return no_throw([&]() -> int {
    const Layout layout(rows, channels);
    const Affine affine(layout, used, used + channels, weight, bias, eps);
    std::vector<double> parts(std::max<int64_t>(1, layout.chunks) * 2 * channels, 0.0);
    with_activation(slope, [&](auto activation) {
      parallel_for(threads, layout.chunks, 1, [&](int64_t begin, int64_t end) {
        Sums sums(layout);
        for (int64_t chunk = begin; chunk < end; ++chunk)
          chunk_sums<decltype(activation)::value>(grad, x, out, layout, chunk, affine, slope, grad_z, sums,
                                                  &parts[chunk * 2 * channels]);
      });
    });
    for (int64_t chunk = 1; chunk < layout.chunks; ++chunk)
      for (int64_t c = 0; c < 2 * channels; ++c) parts[c] += parts[chunk * 2 * channels + c];
    std::vector<float> one(channels, 0.0f), two(channels, 0.0f);
    for (int64_t c = 0; c < channels; ++c) {
      const double inverse = 1.0 / std::sqrt(used[channels + c] + eps);
      slopes[c] = static_cast<float>(parts[channels + c] * inverse);
      slopes[channels + c] = static_cast<float>(parts[c]);
      if (!training) continue;
      one[c] = static_cast<float>(parts[c] / rows);
      two[c] = static_cast<float>(parts[channels + c] / rows * inverse * inverse);
    }
    const Array<float> first = layout.widened(one.data()), second = layout.widened(two.data());
    with_activation(grad_z ? 1.0f : slope, [&](auto activation) {
      each_chunk(threads, layout, [&](int64_t chunk) {
        back_chunk<decltype(activation)::value>(grad_z ? grad_z : grad, x, layout, chunk, affine, first, second, slope,
                                                grad_x);
      });
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}
