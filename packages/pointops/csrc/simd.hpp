// Fixed-width vectors: 8 floats for boxes (F8), and the widest the build allows for point sweeps (FW, W lanes).
// AVX-512 and AVX2 builds use intrinsics; every other build uses plain loops that compilers vectorise themselves.
// Comparisons return one bit per lane. No fused multiply-add anywhere: see the numerical contract in README.md.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace pointops {

using Mask = uint32_t;

inline int popcount(Mask m) {
#if defined(__GNUC__)
  return __builtin_popcount(m);
#else
  int n = 0;
  for (; m; m &= m - 1) ++n;
  return n;
#endif
}

inline int lowest_bit(uint64_t m) {  // m must not be 0
#if defined(__GNUC__)
  return __builtin_ctzll(m);
#else
  int n = 0;
  while (!(m & 1)) m >>= 1, ++n;
  return n;
#endif
}

#if defined(__AVX2__)

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

#else

struct F8 {
  float v[8];
};
struct I8 {
  int32_t v[8];
};
#define POINTOPS_EACH for (int i = 0; i < 8; ++i)
inline F8 load8(const float* p) {
  F8 r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline I8 load8(const int32_t* p) {
  I8 r;
  std::memcpy(r.v, p, sizeof r.v);
  return r;
}
inline void store8(float* p, const F8& a) { std::memcpy(p, a.v, sizeof a.v); }
inline void store8(int32_t* p, const I8& a) { std::memcpy(p, a.v, sizeof a.v); }
inline F8 all8(float a) {
  F8 r;
  POINTOPS_EACH r.v[i] = a;
  return r;
}
inline I8 all8(int32_t a) {
  I8 r;
  POINTOPS_EACH r.v[i] = a;
  return r;
}
inline F8 operator+(const F8& a, const F8& b) {
  F8 r;
  POINTOPS_EACH r.v[i] = a.v[i] + b.v[i];
  return r;
}
inline F8 operator-(const F8& a, const F8& b) {
  F8 r;
  POINTOPS_EACH r.v[i] = a.v[i] - b.v[i];
  return r;
}
inline F8 operator*(const F8& a, const F8& b) {
  F8 r;
  POINTOPS_EACH r.v[i] = a.v[i] * b.v[i];
  return r;
}
inline I8 operator+(const I8& a, const I8& b) {  // wraps around, as the vector instructions do
  I8 r;
  POINTOPS_EACH r.v[i] = static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) + static_cast<uint32_t>(b.v[i]));
  return r;
}
inline F8 root(const F8& a) {
  F8 r;
  POINTOPS_EACH r.v[i] = std::sqrt(a.v[i]);
  return r;
}
inline F8 min(const F8& a, const F8& b) {
  F8 r;
  POINTOPS_EACH r.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return r;
}
inline F8 max(const F8& a, const F8& b) {
  F8 r;
  POINTOPS_EACH r.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return r;
}
inline Mask operator<(const F8& a, const F8& b) {
  Mask m = 0;
  POINTOPS_EACH m |= Mask(a.v[i] < b.v[i]) << i;
  return m;
}
inline Mask operator<=(const F8& a, const F8& b) {
  Mask m = 0;
  POINTOPS_EACH m |= Mask(a.v[i] <= b.v[i]) << i;
  return m;
}
inline Mask operator==(const F8& a, const F8& b) {
  Mask m = 0;
  POINTOPS_EACH m |= Mask(a.v[i] == b.v[i]) << i;
  return m;
}
inline Mask operator<(const I8& a, const I8& b) {
  Mask m = 0;
  POINTOPS_EACH m |= Mask(a.v[i] < b.v[i]) << i;
  return m;
}
inline float highest(const F8& a) {
  float m = a.v[0];
  POINTOPS_EACH m = a.v[i] > m ? a.v[i] : m;
  return m;
}
inline float lowest(const F8& a) {
  float m = a.v[0];
  POINTOPS_EACH m = a.v[i] < m ? a.v[i] : m;
  return m;
}
#undef POINTOPS_EACH

#endif

#if defined(__AVX512F__) && defined(__AVX512VL__)

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
inline IW min(IW a, IW b) { return {_mm512_min_epi32(a.v, b.v)}; }
struct Lanes {
  __mmask16 m;
};
inline Lanes less(FW a, FW b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Lanes less_equal(FW a, FW b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Lanes equal(FW a, FW b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline bool any(Lanes a) { return !_kortestz_mask16_u8(a.m, a.m); }
inline FW select(Lanes m, FW yes, FW no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
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

#else

constexpr int W = 8;
using FW = F8;
using IW = I8;
inline FW load(const float* p) { return load8(p); }
inline IW load(const int32_t* p) { return load8(p); }
inline void store(float* p, const FW& a) { store8(p, a); }
inline void store(int32_t* p, const IW& a) { store8(p, a); }
inline FW all(float a) { return all8(a); }
inline IW all(int32_t a) { return all8(a); }

#if defined(__AVX2__)
inline IW count_less(IW counter, FW a, FW b) {
  return {_mm256_sub_epi32(counter.v, _mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)))};
}
inline IW count_less(IW counter, IW a, IW b) { return {_mm256_sub_epi32(counter.v, _mm256_cmpgt_epi32(b.v, a.v))}; }
inline IW min(IW a, IW b) { return {_mm256_min_epi32(a.v, b.v)}; }
struct Lanes {
  __m256 m;
};
inline Lanes less(FW a, FW b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Lanes less_equal(FW a, FW b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Lanes equal(FW a, FW b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline bool any(Lanes a) { return !_mm256_testz_ps(a.m, a.m); }
inline FW select(Lanes m, FW yes, FW no) { return {_mm256_blendv_ps(no.v, yes.v, m.m)}; }
inline IW select(Lanes m, IW yes, IW no) { return {_mm256_blendv_epi8(no.v, yes.v, _mm256_castps_si256(m.m))}; }
inline FW next_up(FW a) {
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_set1_epi32(1)))};
}
inline __m256i lanes_of(Mask m) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(m)), bit), bit);
}
inline FW select(Mask m, FW yes, FW no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_castsi256_ps(lanes_of(m)))};
}
inline IW select(Mask m, IW yes, IW no) { return {_mm256_blendv_epi8(no.v, yes.v, lanes_of(m))}; }
inline void compress8_store(float* p, F8 a, Mask m) {
  const __m256i order = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(compress8.lane[m & 255]));
  _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(a.v, order));
}
inline void compress8_store(int32_t* p, I8 a, Mask m) {
  const __m256i order = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(compress8.lane[m & 255]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(a.v, order));
}
#else
inline IW count_less(const IW& counter, const FW& a, const FW& b) {
  IW r;
  for (int i = 0; i < 8; ++i) r.v[i] = counter.v[i] + (a.v[i] < b.v[i]);
  return r;
}
inline IW count_less(const IW& counter, const IW& a, const IW& b) {
  IW r;
  for (int i = 0; i < 8; ++i) r.v[i] = counter.v[i] + (a.v[i] < b.v[i]);
  return r;
}
inline IW min(const IW& a, const IW& b) {
  IW r;
  for (int i = 0; i < 8; ++i) r.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return r;
}
struct Lanes {
  int32_t m[8];  // -1 or 0
};
inline Lanes less(const FW& a, const FW& b) {
  Lanes r;
  for (int i = 0; i < 8; ++i) r.m[i] = -(a.v[i] < b.v[i]);
  return r;
}
inline Lanes less_equal(const FW& a, const FW& b) {
  Lanes r;
  for (int i = 0; i < 8; ++i) r.m[i] = -(a.v[i] <= b.v[i]);
  return r;
}
inline Lanes equal(const FW& a, const FW& b) {
  Lanes r;
  for (int i = 0; i < 8; ++i) r.m[i] = -(a.v[i] == b.v[i]);
  return r;
}
inline bool any(const Lanes& a) {
  int32_t seen = 0;
  for (int i = 0; i < 8; ++i) seen |= a.m[i];
  return seen != 0;
}
inline FW select(const Lanes& m, const FW& yes, const FW& no) {
  FW r;
  for (int i = 0; i < 8; ++i) r.v[i] = m.m[i] ? yes.v[i] : no.v[i];
  return r;
}
inline IW select(const Lanes& m, const IW& yes, const IW& no) {
  IW r;
  for (int i = 0; i < 8; ++i) r.v[i] = m.m[i] ? yes.v[i] : no.v[i];
  return r;
}
inline FW next_up(const FW& a) {
  FW r;
  for (int i = 0; i < 8; ++i) {
    int32_t bits;
    std::memcpy(&bits, &a.v[i], 4);
    ++bits;
    std::memcpy(&r.v[i], &bits, 4);
  }
  return r;
}
inline FW select(Mask m, const FW& yes, const FW& no) {
  FW r;
  for (int i = 0; i < 8; ++i) r.v[i] = (m >> i & 1) ? yes.v[i] : no.v[i];
  return r;
}
inline IW select(Mask m, const IW& yes, const IW& no) {
  IW r;
  for (int i = 0; i < 8; ++i) r.v[i] = (m >> i & 1) ? yes.v[i] : no.v[i];
  return r;
}
inline void compress8_store(float* p, const F8& a, Mask m) {
  int n = 0;
  for (int i = 0; i < 8; ++i) {
    p[n] = a.v[i];
    n += m >> i & 1;
  }
}
inline void compress8_store(int32_t* p, const I8& a, Mask m) {
  int n = 0;
  for (int i = 0; i < 8; ++i) {
    p[n] = a.v[i];
    n += m >> i & 1;
  }
}
#endif
inline void compress(float* p, const FW& a, Mask m) { compress8_store(p, a, m); }
inline void compress(int32_t* p, const IW& a, Mask m) { compress8_store(p, a, m); }

#endif

inline F8 square_sum(const F8& x, const F8& y, const F8& z) { return (x * x + y * y) + z * z; }
#if defined(__AVX512F__) && defined(__AVX512VL__)
inline FW square_sum(FW x, FW y, FW z) { return (x * x + y * y) + z * z; }
#endif
// A mask of the first `count` lanes (all of them, or none, beyond either end).
inline Mask first_lanes(int64_t count) {
  return count >= W ? (Mask{1} << (W - 1) << 1) - 1 : count <= 0 ? 0 : (Mask{1} << count) - 1;
}

inline float square_sum(float x, float y, float z) { return (x * x + y * y) + z * z; }

}  // namespace pointops
