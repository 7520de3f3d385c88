// Eight lanes in one register of AVX2.
#pragma once
#include <immintrin.h>

#include "mask.hpp"

namespace pointops {

// Lane permutations that move the lanes of a mask to the front, in order.
struct CompressTable {
  uint32_t lane[256][8] = {};
  constexpr CompressTable() {
    for (int m = 0; m < 256; ++m)
      for (int i = 0, n = 0; i < 8; ++i)
        if (m >> i & 1) lane[m][n++] = static_cast<uint32_t>(i);
  }
};
inline constexpr CompressTable compress8;

struct F8 {
  __m256 v;
};
struct I8 {
  __m256i v;
};
inline F8 load8(const float* p) { return {_mm256_loadu_ps(p)}; }
inline I8 load8(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
inline void store8(float* p, F8 a) { _mm256_storeu_ps(p, a.v); }
inline void store8(int32_t* p, I8 a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v); }
inline F8 all8(float a) { return {_mm256_set1_ps(a)}; }
inline I8 all8(int32_t a) { return {_mm256_set1_epi32(a)}; }
inline F8 operator+(F8 a, F8 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline F8 operator-(F8 a, F8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F8 operator*(F8 a, F8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline I8 operator+(I8 a, I8 b) { return {_mm256_add_epi32(a.v, b.v)}; }
inline F8 root(F8 a) { return {_mm256_sqrt_ps(a.v)}; }
inline F8 min(F8 a, F8 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F8 max(F8 a, F8 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Mask operator<(F8 a, F8 b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)); }
inline Mask operator<=(F8 a, F8 b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)); }
inline Mask operator==(F8 a, F8 b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)); }
inline Mask operator<(I8 a, I8 b) {
  return _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.v, a.v)));
}
inline float highest(F8 a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
  return _mm_cvtss_f32(m);
}
inline float lowest(F8 a) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  m = _mm_min_ss(m, _mm_shuffle_ps(m, m, 1));
  return _mm_cvtss_f32(m);
}

#if !defined(__AVX512VL__)
inline I8 count_less(I8 counter, F8 a, F8 b) {
  return {_mm256_sub_epi32(counter.v, _mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)))};
}
inline I8 count_less(I8 counter, I8 a, I8 b) { return {_mm256_sub_epi32(counter.v, _mm256_cmpgt_epi32(b.v, a.v))}; }
struct Lanes {
  __m256 m;
};
inline Lanes less(F8 a, F8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Lanes less_equal(F8 a, F8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Lanes equal(F8 a, F8 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline bool any(Lanes a) { return !_mm256_testz_ps(a.m, a.m); }
inline I8 select(Lanes m, I8 yes, I8 no) { return {_mm256_blendv_epi8(no.v, yes.v, _mm256_castps_si256(m.m))}; }
inline F8 next_up(F8 a) {
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_set1_epi32(1)))};
}
inline __m256i lanes_of(Mask m) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(m)), bit), bit);
}
inline F8 select(Mask m, F8 yes, F8 no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_castsi256_ps(lanes_of(m)))};
}
inline I8 select(Mask m, I8 yes, I8 no) { return {_mm256_blendv_epi8(no.v, yes.v, lanes_of(m))}; }
inline void compress8_store(float* p, F8 a, Mask m) {
  const __m256i order = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(compress8.lane[m & 255]));
  _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(a.v, order));
}
inline void compress8_store(int32_t* p, I8 a, Mask m) {
  const __m256i order = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(compress8.lane[m & 255]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(a.v, order));
}
#endif

}  // namespace pointops
