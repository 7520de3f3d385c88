// Four lanes: a register of SSE2 or NEON, or plain numbers where there is neither. M4 is what comparisons return: all bits
// of a lane or none.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "mask.hpp"

// Defining POINTOPS_PLAIN checks on any processor what those without either run.
#if !defined(POINTOPS_PLAIN) && (defined(__SSE2__) || defined(_M_X64))
#define POINTOPS_SSE2
#include <emmintrin.h>
#elif !defined(POINTOPS_PLAIN) && (defined(__aarch64__) || defined(_M_ARM64))
#define POINTOPS_NEON
#include <arm_neon.h>
#endif

namespace pointops {

#if defined(POINTOPS_SSE2)

struct F4 {
  __m128 v;
};
struct I4 {
  __m128i v;
};
using M4 = I4;
inline F4 load4(const float* p) { return {_mm_loadu_ps(p)}; }
inline I4 load4(const int32_t* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
inline void store4(float* p, F4 a) { _mm_storeu_ps(p, a.v); }
inline void store4(int32_t* p, I4 a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a.v); }
inline F4 all4(float a) { return {_mm_set1_ps(a)}; }
inline I4 all4(int32_t a) { return {_mm_set1_epi32(a)}; }
inline F4 operator+(F4 a, F4 b) { return {_mm_add_ps(a.v, b.v)}; }
inline F4 operator-(F4 a, F4 b) { return {_mm_sub_ps(a.v, b.v)}; }
inline F4 operator*(F4 a, F4 b) { return {_mm_mul_ps(a.v, b.v)}; }
inline I4 operator+(I4 a, I4 b) { return {_mm_add_epi32(a.v, b.v)}; }
inline I4 operator-(I4 a, I4 b) { return {_mm_sub_epi32(a.v, b.v)}; }
inline F4 root(F4 a) { return {_mm_sqrt_ps(a.v)}; }
inline F4 min(F4 a, F4 b) { return {_mm_min_ps(a.v, b.v)}; }
inline F4 max(F4 a, F4 b) { return {_mm_max_ps(a.v, b.v)}; }
inline M4 less4(F4 a, F4 b) { return {_mm_castps_si128(_mm_cmplt_ps(a.v, b.v))}; }
inline M4 less_equal4(F4 a, F4 b) { return {_mm_castps_si128(_mm_cmple_ps(a.v, b.v))}; }
inline M4 equal4(F4 a, F4 b) { return {_mm_castps_si128(_mm_cmpeq_ps(a.v, b.v))}; }
inline M4 less4(I4 a, I4 b) { return {_mm_cmplt_epi32(a.v, b.v)}; }
inline Mask bits4(M4 m) { return static_cast<Mask>(_mm_movemask_ps(_mm_castsi128_ps(m.v))); }
inline bool any4(M4 m) { return bits4(m) != 0; }
inline M4 either4(M4 a, M4 b) { return {_mm_or_si128(a.v, b.v)}; }
inline I4 select4(M4 m, I4 yes, I4 no) { return {_mm_or_si128(_mm_and_si128(m.v, yes.v), _mm_andnot_si128(m.v, no.v))}; }
inline I4 as_bits(F4 a) { return {_mm_castps_si128(a.v)}; }
inline F4 as_float(I4 a) { return {_mm_castsi128_ps(a.v)}; }
inline M4 lanes4(Mask m) {  // the lanes of the lowest 4 bits
  const __m128i bit = _mm_setr_epi32(1, 2, 4, 8);
  return {_mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(static_cast<int>(m)), bit), bit)};
}

#elif defined(POINTOPS_NEON)

struct F4 {
  float32x4_t v;
};
struct I4 {
  int32x4_t v;
};
using M4 = I4;
inline F4 load4(const float* p) { return {vld1q_f32(p)}; }
inline I4 load4(const int32_t* p) { return {vld1q_s32(p)}; }
inline void store4(float* p, F4 a) { vst1q_f32(p, a.v); }
inline void store4(int32_t* p, I4 a) { vst1q_s32(p, a.v); }
inline F4 all4(float a) { return {vdupq_n_f32(a)}; }
inline I4 all4(int32_t a) { return {vdupq_n_s32(a)}; }
inline F4 operator+(F4 a, F4 b) { return {vaddq_f32(a.v, b.v)}; }
inline F4 operator-(F4 a, F4 b) { return {vsubq_f32(a.v, b.v)}; }
inline F4 operator*(F4 a, F4 b) { return {vmulq_f32(a.v, b.v)}; }
inline I4 operator+(I4 a, I4 b) { return {vaddq_s32(a.v, b.v)}; }
inline I4 operator-(I4 a, I4 b) { return {vsubq_s32(a.v, b.v)}; }
inline F4 root(F4 a) { return {vsqrtq_f32(a.v)}; }
inline F4 min(F4 a, F4 b) { return {vminq_f32(a.v, b.v)}; }
inline F4 max(F4 a, F4 b) { return {vmaxq_f32(a.v, b.v)}; }
inline M4 less4(F4 a, F4 b) { return {vreinterpretq_s32_u32(vcltq_f32(a.v, b.v))}; }
inline M4 less_equal4(F4 a, F4 b) { return {vreinterpretq_s32_u32(vcleq_f32(a.v, b.v))}; }
inline M4 equal4(F4 a, F4 b) { return {vreinterpretq_s32_u32(vceqq_f32(a.v, b.v))}; }
inline M4 less4(I4 a, I4 b) { return {vreinterpretq_s32_u32(vcltq_s32(a.v, b.v))}; }
inline Mask bits4(M4 m) {
  static const uint32_t kBit[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vreinterpretq_u32_s32(m.v), vld1q_u32(kBit)));
}
inline bool any4(M4 m) { return vmaxvq_u32(vreinterpretq_u32_s32(m.v)) != 0; }
inline M4 either4(M4 a, M4 b) { return {vorrq_s32(a.v, b.v)}; }
inline I4 select4(M4 m, I4 yes, I4 no) { return {vbslq_s32(vreinterpretq_u32_s32(m.v), yes.v, no.v)}; }
inline I4 as_bits(F4 a) { return {vreinterpretq_s32_f32(a.v)}; }
inline F4 as_float(I4 a) { return {vreinterpretq_f32_s32(a.v)}; }
inline M4 lanes4(Mask m) {  // the lanes of the lowest 4 bits
  static const uint32_t kBit[4] = {1, 2, 4, 8};
  return {vreinterpretq_s32_u32(vtstq_u32(vdupq_n_u32(m), vld1q_u32(kBit)))};
}

// Bytes that move the lanes of a mask to the front, in order, and how many lanes they are.
struct CompressTable {
  uint8_t byte[16][16] = {};
  uint8_t count[16] = {};
  constexpr CompressTable() {
    for (int m = 0; m < 16; ++m)
      for (int i = 0; i < 4; ++i)
        if (m >> i & 1) {
          for (int b = 0; b < 4; ++b) byte[m][4 * count[m] + b] = static_cast<uint8_t>(4 * i + b);
          ++count[m];
        }
  }
};
inline constexpr CompressTable compress4;
// Writes the lanes of m (4 bits) to p, in order, and returns their number; the rest of 4 lanes is overwritten.
inline int compress4_store(int32_t* p, I4 a, Mask m) {
  const uint8x16_t moved = vqtbl1q_u8(vreinterpretq_u8_s32(a.v), vld1q_u8(compress4.byte[m]));
  vst1q_s32(p, vreinterpretq_s32_u8(moved));
  return compress4.count[m];
}
inline int compress4_store(float* p, F4 a, Mask m) {
  const uint8x16_t moved = vqtbl1q_u8(vreinterpretq_u8_f32(a.v), vld1q_u8(compress4.byte[m]));
  vst1q_f32(p, vreinterpretq_f32_u8(moved));
  return compress4.count[m];
}

#else

struct F4 {
  float v[4];
};
struct I4 {
  int32_t v[4];
};
using M4 = I4;

// Calls f(lane) for the four lanes of the result.
template <class R, class Lane>
inline R each4(const Lane& f) {
  R r;
  for (int i = 0; i < 4; ++i) r.v[i] = f(i);
  return r;
}
inline int32_t wrap(uint32_t v) { return static_cast<int32_t>(v); }
inline uint32_t unsign(int32_t v) { return static_cast<uint32_t>(v); }

inline F4 load4(const float* p) { return each4<F4>([&](int i) { return p[i]; }); }
inline I4 load4(const int32_t* p) { return each4<I4>([&](int i) { return p[i]; }); }
inline void store4(float* p, F4 a) { std::memcpy(p, a.v, sizeof a.v); }
inline void store4(int32_t* p, I4 a) { std::memcpy(p, a.v, sizeof a.v); }
inline F4 all4(float a) { return {{a, a, a, a}}; }
inline I4 all4(int32_t a) { return {{a, a, a, a}}; }
inline F4 operator+(F4 a, F4 b) { return each4<F4>([&](int i) { return a.v[i] + b.v[i]; }); }
inline F4 operator-(F4 a, F4 b) { return each4<F4>([&](int i) { return a.v[i] - b.v[i]; }); }
inline F4 operator*(F4 a, F4 b) { return each4<F4>([&](int i) { return a.v[i] * b.v[i]; }); }
inline I4 operator+(I4 a, I4 b) { return each4<I4>([&](int i) { return wrap(unsign(a.v[i]) + unsign(b.v[i])); }); }
inline I4 operator-(I4 a, I4 b) { return each4<I4>([&](int i) { return wrap(unsign(a.v[i]) - unsign(b.v[i])); }); }
inline F4 root(F4 a) { return each4<F4>([&](int i) { return std::sqrt(a.v[i]); }); }
inline F4 min(F4 a, F4 b) { return each4<F4>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
inline F4 max(F4 a, F4 b) { return each4<F4>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
inline M4 less4(F4 a, F4 b) { return each4<M4>([&](int i) { return -(a.v[i] < b.v[i]); }); }
inline M4 less_equal4(F4 a, F4 b) { return each4<M4>([&](int i) { return -(a.v[i] <= b.v[i]); }); }
inline M4 equal4(F4 a, F4 b) { return each4<M4>([&](int i) { return -(a.v[i] == b.v[i]); }); }
inline M4 less4(I4 a, I4 b) { return each4<M4>([&](int i) { return -(a.v[i] < b.v[i]); }); }
inline Mask bits4(M4 m) { return (m.v[0] & 1) | (m.v[1] & 2) | (m.v[2] & 4) | (m.v[3] & 8); }
inline bool any4(M4 m) { return bits4(m) != 0; }
inline M4 either4(M4 a, M4 b) { return each4<M4>([&](int i) { return a.v[i] | b.v[i]; }); }
inline I4 select4(M4 m, I4 yes, I4 no) { return each4<I4>([&](int i) { return m.v[i] ? yes.v[i] : no.v[i]; }); }
inline I4 as_bits(F4 a) {
  I4 r;
  std::memcpy(r.v, a.v, sizeof r.v);
  return r;
}
inline F4 as_float(I4 a) {
  F4 r;
  std::memcpy(r.v, a.v, sizeof r.v);
  return r;
}
inline M4 lanes4(Mask m) { return each4<M4>([&](int i) { return -static_cast<int32_t>(m >> i & 1); }); }

#endif

#if !defined(POINTOPS_NEON)
// Writes the lanes of m (4 bits) to p, in order, and returns their number; the rest of 4 lanes is overwritten.
template <class T, class V>
inline int compress4_store(T* p, V a, Mask m) {
  T lane[4];
  store4(lane, a);
  int n = 0;
  for (int i = 0; i < 4; ++i) {
    p[n] = lane[i];
    n += m >> i & 1;
  }
  return n;
}
#endif

}  // namespace pointops
