// The lists of window attention: for each query its own window's points, then the sampled points of its large window that
// lie in other small windows, and the bins of their displacements.
#include <cmath>

#include "features.h"
#include "rows.hpp"

namespace pointops {
namespace {

// Rows rows[first[i]] .. of count[i] share a window with query i.
struct Members {
  const int32_t* rows;
  const int64_t *first, *count;
};

}  // namespace
}  // namespace pointops

using namespace pointops;

extern "C" int pointops_window_count(const int64_t* small, const int32_t* far_rows, const int64_t* far_first,
                                     const int64_t* far_count, int64_t points, int threads, int64_t* kept) {
  return no_throw([&]() -> int {
    const Members far{far_rows, far_first, far_count};
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        kept[i] = 0;
        for (int64_t m = 0; m < far.count[i]; ++m) kept[i] += small[far.rows[far.first[i] + m]] != small[i];
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}

extern "C" int pointops_window_fill(const float* xyz, const int64_t* small, const int32_t* own_rows,
                                    const int64_t* own_first, const int64_t* own_count, const int32_t* far_rows,
                                    const int64_t* far_first, const int64_t* far_count, const int64_t* ends,
                                    int64_t points, double rounding, double reach, double quant, int64_t length,
                                    int threads, int32_t* key, uint8_t* bins) {
  return no_throw([&]() -> int {
    const Members own{own_rows, own_first, own_count}, far{far_rows, far_first, far_count};
    const double top = static_cast<double>(length - 1);
    parallel_for(threads, points, kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t at = i ? ends[i - 1] : 0;
        for (int64_t m = 0; m < own.count[i]; ++m) key[at++] = own.rows[own.first[i] + m];
        for (int64_t m = 0; m < far.count[i]; ++m)
          if (const int32_t row = far.rows[far.first[i] + m]; small[row] != small[i]) key[at++] = row;
        for (int64_t a = i ? ends[i - 1] : 0; a < at; ++a)
          for (int axis = 0; axis < 3; ++axis) {
            const float apart = xyz[3 * i + axis] - xyz[3 * int64_t{key[a]} + axis];
            const double steps = std::nearbyint(static_cast<double>(apart) * rounding);
            const double bin = std::floor((steps + reach) / quant);
            bins[3 * a + axis] = static_cast<uint8_t>(bin < 0 ? 0 : bin > top ? top : bin);
          }
      }
    });
    return POINTOPS_OK;
  }, POINTOPS_NO_MEMORY);
}
