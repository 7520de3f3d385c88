// Submanifold convolution. For every offset of the kernel, rows of features are read where they lie and sums are kept
// where they belong: neither a gathered copy of the rows nor the products of single offsets are ever in memory.
//
// Only where vectors hold 16 numbers and a product is fused with its sum; elsewhere torch's matrix products are faster.
#include "features.h"

#if defined(__AVX512F__)
#include <immintrin.h>

#include "rows.hpp"

using namespace pointops;

namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kVoxels = 1024;  // whose sums stay in the second cache while all offsets pass
constexpr int64_t kPanel = 64;     // output channels at a time, or 32 where these do not divide: weights for the first cache

// sums of Rows voxels += their neighbors' features times a panel of weights, Vectors * kLanes wide.
template <int Rows, int Vectors>
POINTOPS_INLINE void multiply(const float* feat, int64_t in, const float* panel, float* out, int64_t width,
                              const int32_t* voxel, const int32_t* near) {
  __m512 sum[Rows][Vectors];
  const float* source[Rows];
  for (int r = 0; r < Rows; ++r) {
    source[r] = feat + int64_t{near[r]} * in;
    for (int v = 0; v < Vectors; ++v) sum[r][v] = _mm512_loadu_ps(out + int64_t{voxel[r]} * width + v * kLanes);
  }
  for (int64_t c = 0; c < in; ++c) {
    __m512 weight[Vectors];
    for (int v = 0; v < Vectors; ++v) weight[v] = _mm512_loadu_ps(panel + (c * Vectors + v) * kLanes);
    for (int r = 0; r < Rows; ++r) {
      const __m512 value = _mm512_set1_ps(source[r][c]);
      for (int v = 0; v < Vectors; ++v) sum[r][v] = _mm512_fmadd_ps(value, weight[v], sum[r][v]);
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v) _mm512_storeu_ps(out + int64_t{voxel[r]} * width + v * kLanes, sum[r][v]);
}

// As many rows at once as registers hold; what each row gets does not depend on its company.
template <int Rows, int Vectors>
void multiply_all(const float* feat, int64_t in, const float* panel, float* out, int64_t width, const int32_t* voxel,
                  const int32_t* near, int64_t count) {
  int64_t i = 0;
  for (; i + Rows <= count; i += Rows) multiply<Rows, Vectors>(feat, in, panel, out, width, voxel + i, near + i);
  for (; i < count; ++i) multiply<1, Vectors>(feat, in, panel, out, width, voxel + i, near + i);
}

// weight (offsets, in, width) as (offsets, panels, in, panel): what one pass reads lies together.
std::vector<float> in_panels(const float* weight, int64_t offsets, int64_t in, int64_t width, int64_t panel) {
  std::vector<float> packed(offsets * in * width);
  for (int64_t k = 0; k < offsets; ++k)
    for (int64_t d = 0; d < width; d += panel)
      for (int64_t c = 0; c < in; ++c)
        std::copy_n(weight + (k * in + c) * width + d, panel, packed.data() + (k * width + d) * in + c * panel);
  return packed;
}

// The occupied entries of a piece of the table, by offset and then by voxel.
struct Pairs {
  int64_t offsets;
  std::vector<int32_t> voxel, near;  // (offsets, kVoxels)
  std::vector<int64_t> count;        // (offsets,)

  explicit Pairs(int64_t offsets) : offsets(offsets), voxel(offsets * kVoxels), near(offsets * kVoxels), count(offsets) {}

  void sort(const int32_t* table, int64_t begin, int64_t end) {
    std::fill(count.begin(), count.end(), 0);
    for (int64_t i = begin; i < end; ++i)
      for (int64_t k = 0; k < offsets; ++k) {
        const int32_t row = table[i * offsets + k];
        if (row < 0) continue;
        const int64_t place = k * kVoxels + count[k]++;
        voxel[place] = static_cast<int32_t>(i);
        near[place] = row;
      }
  }
};

}  // namespace

extern "C" POINTOPS_API int pointops_submanifold(const float* feat, int64_t rows, int64_t in, const float* weight,
                                                 int64_t width, const int32_t* table, int64_t voxels, int64_t offsets,
                                                 int threads, float* out) {
  return no_throw([&]() -> int {
    if (!good_rows(table, voxels * offsets, rows)) return POINTOPS_BAD_INDEX;
    const int64_t panel = width % kPanel ? kPanel / 2 : kPanel;
    const std::vector<float> packed = in_panels(weight, offsets, in, width, panel);
    const int64_t pieces = (voxels + kVoxels - 1) / kVoxels;
    parallel_for(threads, pieces, 1, [&](int64_t first, int64_t last) {
      Pairs pairs(offsets);
      for (int64_t p = first; p < last; ++p) {
        const int64_t begin = p * kVoxels, end = std::min(voxels, begin + kVoxels);
        pairs.sort(table, begin, end);
        std::fill(out + begin * width, out + end * width, 0.0f);
        for (int64_t k = 0; k < offsets; ++k)
          for (int64_t d = 0; d < width; d += panel) {
            const float* its = packed.data() + (k * width + d) * in;
            const int32_t *voxel = pairs.voxel.data() + k * kVoxels, *near = pairs.near.data() + k * kVoxels;
            if (panel == kPanel)
              multiply_all<6, 4>(feat, in, its, out + d, width, voxel, near, pairs.count[k]);
            else
              multiply_all<12, 2>(feat, in, its, out + d, width, voxel, near, pairs.count[k]);
          }
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

#endif
