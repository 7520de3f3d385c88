/* The C interface of the CPU kernels: raw pointers, sizes and a thread count; no Python, no torch.
 *
 * Points are rows of three float32. Scenes lie end to end: `ends` are their cumulative ends (int64). Row numbers in
 * results count over the whole batch. Every function returns one of the codes below and writes nothing outside the
 * arrays described. Arguments other than coordinates are trusted: the Python layer checks them.
 */
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define POINTOPS_API __declspec(dllexport)
#else
#define POINTOPS_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { POINTOPS_OK = 0, POINTOPS_NO_MEMORY = 1, POINTOPS_BAD_COORDINATE = 2, POINTOPS_BAD_QUERY = 3, POINTOPS_BAD_INDEX = 4 };

/* Rises when an existing function changes. */
POINTOPS_API int pointops_version(void);
/* The instruction set this library was compiled for: "avx512", "avx2", "baseline". */
POINTOPS_API const char* pointops_flavor(void);
/* Whether this processor can run the given flavor (callable in the baseline library on any machine). */
POINTOPS_API int pointops_supports(const char* flavor);

/* An index: the search trees of a batch, for several calls on the same points. The calls below build their own where
 * `index` is NULL, and sort their queries where `query_index` is NULL; otherwise these must have been made from the very
 * same points and ends, which must live on unchanged. Free it when no call uses it. Where `dist` is NULL, distances are
 * not written. */
POINTOPS_API int pointops_index_make(const float* xyz, const int64_t* ends, int64_t scenes, int threads, void** index);
POINTOPS_API void pointops_index_free(void* index);

/* k nearest neighbors, sorted by (squared distance, row). query == xyz searches the cloud for itself.
 * idx (M, k), dist (M, k) square roots; missing neighbors: idx -1, or the scene's first row if first_point; dist 1e5. */
POINTOPS_API int pointops_knn(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                              const float* query, const int64_t* query_ends, const void* query_index, int64_t k,
                              int first_point, int threads, int32_t* idx, float* dist);

/* Up to k hits per query, low2 <= d2 < high2 (<= if inclusive) or d2 = 0; the first in row order, or the nearest.
 * Short rows repeat the first hit (an empty ball: the scene's first row) if repeat, else hold -1; missing dist 1e5. */
POINTOPS_API int pointops_ball(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                               const float* query, const int64_t* query_ends, const void* query_index, int64_t k,
                               float low2, float high2, int inclusive, int nearest, int repeat, int threads, int32_t* idx,
                               float* dist);

/* All hits per query, d2 < radius2 of that query (<= if inclusive) or d2 = 0: first their numbers, then, with the first
 * place of each query, their rows in row order (nearest: by (d2, row)) and distances (square roots; may be NULL). */
POINTOPS_API int pointops_radius_count(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                                       const float* query, const int64_t* query_ends, const float* radius2, int inclusive,
                                       int threads, int64_t* count);
POINTOPS_API int pointops_radius_fill(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                                      const float* query, const int64_t* query_ends, const float* radius2, int inclusive,
                                      int nearest, int threads, const int64_t* first, int32_t* idx, float* dist);

/* Nearest neighbor of every point in the other cloud: squared distances and rows (-1 and 0 without any). Both ways, or, where
 * other_distance2 is NULL, for the points of xyz only. */
POINTOPS_API int pointops_nearest_pair(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                                       const float* other, const int64_t* other_ends, const void* other_index, int threads,
                                       float* distance2, int32_t* idx, float* other_distance2, int32_t* other_idx);

/* Farthest point sampling, scene by scene, from the row `starts` of each (NULL: its first), ties to the lowest row.
 * skip_origin: points with |p|^2 <= 1e-3 are never chosen but as the first. sample holds the rows, sample_ends their
 * cumulative ends, distance2 (may be NULL) the squared distance of each to the nearest before it (infinity for the first). */
POINTOPS_API int pointops_fps(const float* xyz, const int64_t* ends, int64_t scenes, const void* index,
                              const int64_t* sample_ends, const int64_t* starts, int skip_origin, int threads,
                              int32_t* sample, float* distance2);

/* The same from rows that are chosen already (scene by scene, all different, no more than asked for), which the sample
 * begins with; -1 once only copies of chosen points are left. */
POINTOPS_API int pointops_fps_continue(const float* xyz, const int64_t* ends, int64_t scenes, const int32_t* given,
                                       const int64_t* given_ends, const int64_t* sample_ends, int threads,
                                       int32_t* sample);

#ifdef __cplusplus
}
#endif
