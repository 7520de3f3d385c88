/* The C interface of batch normalization over rows; see features.h. x and the like are (rows, channels) float32; weight
 * and bias (channels) may be null: ones and zeros; used (3, channels) is mean, var and
 * unbiased variance. Sums are made in float32 over a few rows, in
 * double beyond, in an order that depends on rows and channels alone: results are the same bits for any number of threads and
 * in every build.
 *
 *   z = (x - mean) / sqrt(var + eps) * weight + bias + residual,     out = z where z > 0, else slope * z; 0 <= slope <= 1
 */
#pragma once
#include "pointops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out (rows, channels) as above; residual may be null. In training `used` is written, from
 * two rows or more; else it is read. */
POINTOPS_API int pointops_norm(const float* x, const float* residual, int64_t rows, int64_t channels, const float* weight,
                               const float* bias, double eps, float slope, int training, int threads, float* used,
                               float* out);

/* Gradients of the above, from that of out. With a residual, `out` must be given, and grad_z (rows, channels) is its
 * gradient; otherwise both are null, and where z > 0 is computed anew. slopes (2, channels) are those of weight and bias. */
POINTOPS_API int pointops_norm_backward(const float* grad, const float* x, const float* out, int64_t rows,
                                        int64_t channels, const float* weight, const float* bias, const float* used,
                                        double eps, float slope, int training, int threads, float* grad_x, float* grad_z,
                                        float* slopes);

#ifdef __cplusplus
}
#endif
