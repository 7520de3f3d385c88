// Sixteen lanes in one register of AVX-512.
#pragma once
#include <immintrin.h>

#include "simd_avx2.hpp"

namespace pointops {

constexpr int W = 16;
struct FW {
  __m512 v;
};
struct IW {
  __m512i v;
};
inline FW load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline IW load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store(float* p, FW a) { _mm512_storeu_ps(p, a.v); }
inline void store(int32_t* p, IW a) { _mm512_storeu_si512(p, a.v); }
inline FW all(float a) { return {_mm512_set1_ps(a)}; }
inline IW all(int32_t a) { return {_mm512_set1_epi32(a)}; }
inline FW operator+(FW a, FW b) { return {_mm512_add_ps(a.v, b.v)}; }
inline FW operator-(FW a, FW b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline IW operator+(IW a, IW b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline FW root(FW a) { return {_mm512_sqrt_ps(a.v)}; }
inline FW operator*(FW a, FW b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Mask operator<(FW a, FW b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline Mask operator<=(FW a, FW b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
inline Mask operator==(FW a, FW b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
inline Mask operator<(IW a, IW b) { return _mm512_cmplt_epi32_mask(a.v, b.v); }
inline FW min(FW a, FW b) { return {_mm512_min_ps(a.v, b.v)}; }
inline FW max(FW a, FW b) { return {_mm512_max_ps(a.v, b.v)}; }
struct Lanes {
  __mmask16 m;
};
inline Lanes less(FW a, FW b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Lanes less_equal(FW a, FW b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Lanes equal(FW a, FW b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline bool any(Lanes a) { return !_kortestz_mask16_u8(a.m, a.m); }
inline IW select(Lanes m, IW yes, IW no) { return {_mm512_mask_blend_epi32(m.m, no.v, yes.v)}; }
inline FW next_up(FW a) { return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_set1_epi32(1)))}; }
inline FW select(Mask m, FW yes, FW no) { return {_mm512_mask_blend_ps(static_cast<__mmask16>(m), no.v, yes.v)}; }
inline IW select(Mask m, IW yes, IW no) { return {_mm512_mask_blend_epi32(static_cast<__mmask16>(m), no.v, yes.v)}; }
inline float highest(FW a) {
  const __m256 upper = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, _mm512_castps_pd(a.v), 1));
  return highest(F8{_mm256_max_ps(_mm512_castps512_ps256(a.v), upper)});
}
inline float lowest(FW a) {
  const __m256 upper = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xF, _mm512_castps_pd(a.v), 1));
  return lowest(F8{_mm256_min_ps(_mm512_castps512_ps256(a.v), upper)});
}
// counter + 1 where a < b
inline IW count_less(IW counter, FW a, FW b) {
  return {_mm512_mask_add_epi32(counter.v, _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), counter.v, _mm512_set1_epi32(1))};
}
inline IW count_less(IW counter, IW a, IW b) {
  return {_mm512_mask_add_epi32(counter.v, _mm512_cmplt_epi32_mask(a.v, b.v), counter.v, _mm512_set1_epi32(1))};
}
// Writes the lanes of m to p, in order; up to W lanes beyond them are overwritten.
inline void compress(float* p, FW a, Mask m) {
  _mm512_storeu_ps(p, _mm512_maskz_compress_ps(static_cast<__mmask16>(m), a.v));
}
inline void compress(int32_t* p, IW a, Mask m) {
  _mm512_storeu_si512(p, _mm512_maskz_compress_epi32(static_cast<__mmask16>(m), a.v));
}
inline void compress8_store(int32_t* p, I8 a, Mask m) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_maskz_compress_epi32(static_cast<__mmask8>(m), a.v));
}
inline void compress8_store(float* p, F8 a, Mask m) {
  _mm256_storeu_ps(p, _mm256_maskz_compress_ps(static_cast<__mmask8>(m), a.v));
}

}  // namespace pointops
