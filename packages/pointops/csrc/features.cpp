// Gathering rows, the differences of vector attention, and weighted sums of rows, with their gradients.
#include "features.h"

#include "rows.hpp"

using namespace pointops;

extern "C" int pointops_gather(const float* feat, int64_t rows, int64_t channels, const int32_t* idx, int64_t entries,
                               int threads, float* out) {
  return no_throw([&]() -> int {
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    parallel_for(threads, entries, 4 * kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t e = begin; e < end; ++e) {
        if (e + 8 < end && idx[e + 8] >= 0) prefetch(feat + idx[e + 8] * channels);
        if (idx[e] < 0)
          std::fill(out + e * channels, out + (e + 1) * channels, 0.0f);
        else
          std::copy(feat + idx[e] * channels, feat + (idx[e] + int64_t{1}) * channels, out + e * channels);
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_scatter(const float* grad, int64_t rows, int64_t channels, const int32_t* idx, int64_t entries,
                                int threads, float* out) {
  return no_throw([&]() -> int {
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    std::fill(out, out + rows * channels, 0.0f);
    by_owner(threads, idx, entries, rows,
             [&](int64_t row, int64_t e) { add(out + row * channels, grad + e * channels, channels); });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_inverse(const int32_t* idx, int64_t entries, int64_t rows, int32_t* start, int32_t* entry) {
  return no_throw([&]() -> int {
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    std::fill(start, start + rows + 1, 0);
    for (int64_t e = 0; e < entries; ++e)
      if (idx[e] >= 0) ++start[idx[e] + 1];
    for (int64_t r = 0; r < rows; ++r) start[r + 1] += start[r];
    std::vector<int32_t> next(start, start + rows);
    for (int64_t e = 0; e < entries; ++e)
      if (idx[e] >= 0) entry[next[idx[e]]++] = static_cast<int32_t>(e);
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_relation(const float* query, const float* key, int64_t rows, const float* position,
                                 const int32_t* idx, int64_t points, int64_t neighbors, int64_t channels, float sign,
                                 int threads, float* out) {
  return no_throw([&]() -> int {
    const int64_t entries = points * neighbors;
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    const std::vector<float> zeros(channels, 0.0f);
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const float* POINTOPS_RESTRICT q = query + n * channels;
        for (int64_t e = n * neighbors; e < (n + 1) * neighbors; ++e) {
          if (e + 8 < entries && idx[e + 8] >= 0) prefetch(key + idx[e + 8] * channels);
          const float* POINTOPS_RESTRICT k = idx[e] < 0 ? zeros.data() : key + idx[e] * channels;
          float* POINTOPS_RESTRICT o = out + e * channels;
          if (position) {
            const float* POINTOPS_RESTRICT p = position + e * channels;
            for (int64_t c = 0; c < channels; ++c) o[c] = sign * (k[c] - q[c]) + p[c];
          } else {
            for (int64_t c = 0; c < channels; ++c) o[c] = sign * (k[c] - q[c]);
          }
        }
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_relation_backward(const float* grad, int64_t rows, const int32_t* idx, int64_t points,
                                          int64_t neighbors, int64_t channels, float sign, int threads,
                                          float* query_grad, float* key_grad) {
  return no_throw([&]() -> int {
    const int64_t entries = points * neighbors;
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    std::fill(key_grad, key_grad + rows * channels, 0.0f);
    const bool alone = threads <= 1;  // then both sums are made in one reading
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        float* q = query_grad + n * channels;
        std::fill(q, q + channels, 0.0f);
        for (int64_t e = n * neighbors; e < (n + 1) * neighbors; ++e) {
          add(q, grad + e * channels, channels, -sign);
          if (alone && idx[e] >= 0) add(key_grad + idx[e] * channels, grad + e * channels, channels, sign);
        }
      }
    });
    if (!alone)
      by_owner(threads, idx, entries, rows,
               [&](int64_t row, int64_t e) { add(key_grad + row * channels, grad + e * channels, channels, sign); });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_interpolate(const float* feat, int64_t rows, const int32_t* idx, const float* weight,
                                    int64_t points, int64_t neighbors, int64_t channels, int threads, float* out) {
  return no_throw([&]() -> int {
    const int64_t entries = points * neighbors;
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        float* POINTOPS_RESTRICT o = out + n * channels;
        std::fill(o, o + channels, 0.0f);
        for (int64_t e = n * neighbors; e < (n + 1) * neighbors; ++e) {
          if (e + 6 < entries && idx[e + 6] >= 0) prefetch(feat + idx[e + 6] * channels);
          if (idx[e] >= 0) add(o, feat + idx[e] * channels, channels, weight[e]);
        }
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

namespace {

// Sixteen running sums, added at the end: a fixed order that vectorises.
float dot(const float* POINTOPS_RESTRICT a, const float* POINTOPS_RESTRICT b, int64_t width) {
  float sums[16] = {};
  int64_t c = 0;
  for (; c + 16 <= width; c += 16)
    for (int l = 0; l < 16; ++l) sums[l] += a[c + l] * b[c + l];
  for (int l = 0; c < width; ++c, ++l) sums[l] += a[c] * b[c];
  for (int half = 8; half; half /= 2)
    for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
  return sums[0];
}

}  // namespace

extern "C" int pointops_interpolate_backward(const float* grad, const float* feat, int64_t rows, const int32_t* idx,
                                             const float* weight, int64_t points, int64_t neighbors, int64_t channels,
                                             int threads, float* feat_grad, float* weight_grad) {
  return no_throw([&]() -> int {
    const int64_t entries = points * neighbors;
    if (!good_rows(idx, entries, rows)) return POINTOPS_BAD_INDEX;
    if (weight_grad)
      parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
        for (int64_t e = begin * neighbors; e < end * neighbors; ++e)
          weight_grad[e] =
              idx[e] < 0 ? 0.0f : dot(grad + e / neighbors * channels, feat + idx[e] * channels, channels);
      });
    if (feat_grad) {
      std::fill(feat_grad, feat_grad + rows * channels, 0.0f);
      by_owner(threads, idx, entries, rows, [&](int64_t row, int64_t e) {
        add(feat_grad + row * channels, grad + e / neighbors * channels, channels, weight[e]);
      });
    }
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}
