/* The C interface of the feature kernels; see pointops.h. Features are dense rows of float32, `rows` of them, `channels`
 * wide; `idx` holds row numbers in -1..rows-1, -1 standing for a row of zeros. Results are the same bits for any number
 * of threads. Codes: 0 done, 1 out of memory, 4 a row number or a table out of range (the results are then undefined). */
#pragma once
#include "pointops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out (entries, channels) = feat[idx]. */
POINTOPS_API int pointops_gather(const float* feat, int64_t rows, int64_t channels, const int32_t* idx, int64_t entries,
                                 int threads, float* out);

/* out (rows, channels): row r sums the rows of grad (entries, channels) whose entry names r, in the order of entries. */
POINTOPS_API int pointops_scatter(const float* grad, int64_t rows, int64_t channels, const int32_t* idx, int64_t entries,
                                  int threads, float* out);

/* start (rows + 1), entry (entries): the places of idx that name each row, in increasing order; -1 is left out. */
POINTOPS_API int pointops_inverse(const int32_t* idx, int64_t entries, int64_t rows, int32_t* start, int32_t* entry);

/* out (points, neighbors, channels) = sign * (key[idx] - query) + position; position may be null. */
POINTOPS_API int pointops_relation(const float* query, const float* key, int64_t rows, const float* position,
                                   const int32_t* idx, int64_t points, int64_t neighbors, int64_t channels, float sign,
                                   int threads, float* out);

/* Gradients of the above with respect to query and key. */
POINTOPS_API int pointops_relation_backward(const float* grad, int64_t rows, const int32_t* idx, int64_t points,
                                            int64_t neighbors, int64_t channels, float sign, int threads,
                                            float* query_grad, float* key_grad);

/* out (points, channels): channel c sums (value[idx] + position) * weight of group c mod shares over the neighbors.
 * position (points, neighbors, channels; null: none); weight (points, neighbors, shares), softmaxed over the neighbors if asked. */
POINTOPS_API int pointops_aggregate(const float* value, int64_t rows, const float* position, const float* weight,
                                    const int32_t* idx, int64_t points, int64_t neighbors, int64_t channels,
                                    int64_t shares, int softmax, int threads, float* out);

/* Its gradients with respect to value, position (null: not wanted) and weight. */
POINTOPS_API int pointops_aggregate_backward(const float* grad, const float* value, int64_t rows, const float* position,
                                             const float* weight, const int32_t* idx, int64_t points, int64_t neighbors,
                                             int64_t channels, int64_t shares, int softmax, int threads,
                                             float* value_grad, float* position_grad, float* weight_grad);

/* out (points, channels): sums weight (points, neighbors) * feat[idx] over the neighbors. */
POINTOPS_API int pointops_interpolate(const float* feat, int64_t rows, const int32_t* idx, const float* weight,
                                      int64_t points, int64_t neighbors, int64_t channels, int threads, float* out);

/* Its gradients with respect to feat and weight (either null: not wanted). */
POINTOPS_API int pointops_interpolate_backward(const float* grad, const float* feat, int64_t rows, const int32_t* idx,
                                               const float* weight, int64_t points, int64_t neighbors, int64_t channels,
                                               int threads, float* feat_grad, float* weight_grad);

/* Attention of each query over its list of keys (ends, keys) with bins (pairs, 3) into tables (heads, 3, length, width).
 * query, key, value, out (points, heads, width); weight (pairs, heads) is kept for the way back. */
POINTOPS_API int pointops_window_attention(const float* query, const float* key, const float* value,
                                           const float* query_table, const float* key_table, const float* value_table,
                                           const int64_t* ends, const int32_t* keys, const uint8_t* bins,
                                           int64_t points, int64_t heads, int64_t width, int64_t length, int threads,
                                           float* weight, float* out);

/* Its gradients; table_grads (3, heads, 3, length, width) for the tables of query, key and value. */
POINTOPS_API int pointops_window_attention_backward(
    const float* grad, const float* weight, const float* query, const float* key, const float* value,
    const float* query_table, const float* key_table, const float* value_table, const int64_t* ends,
    const int32_t* keys, const uint8_t* bins, int64_t points, int64_t heads, int64_t width, int64_t length, int threads,
    float* query_grad, float* key_grad, float* value_grad, float* table_grads);

/* Window pairs. Query i shares its small window with own_rows[own_first[i]] .. (own_count[i] of them) and its large one
 * with the sampled far_rows[far_first[i]] ..; of the latter those of other small windows (numbers `small`) are kept.
 * The first function counts them; the second writes keys and bins, floor((round(apart * rounding) + reach) / quant)
 * within 0..length-1, to the places that `ends` gives. All arguments are trusted. */
POINTOPS_API int pointops_window_count(const int64_t* small, const int32_t* far_rows, const int64_t* far_first,
                                       const int64_t* far_count, int64_t points, int threads, int64_t* kept);
POINTOPS_API int pointops_window_fill(const float* xyz, const int64_t* small, const int32_t* own_rows,
                                      const int64_t* own_first, const int64_t* own_count, const int32_t* far_rows,
                                      const int64_t* far_first, const int64_t* far_count, const int64_t* ends,
                                      int64_t points, double rounding, double reach, double quant, int64_t length,
                                      int threads, int32_t* key, uint8_t* bins);

/* out (voxels, width): voxel i sums feat[table[i, k]] (in) times weight[k] (in, width) over the offsets k, in their order.
 * width is a multiple of 32. Only in the library "avx512". */
POINTOPS_API int pointops_submanifold(const float* feat, int64_t rows, int64_t in, const float* weight, int64_t width,
                                      const int32_t* table, int64_t voxels, int64_t offsets, int threads, float* out);

#ifdef __cplusplus
}
#endif
