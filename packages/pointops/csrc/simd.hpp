// Fixed-width vectors: 8 floats for boxes (F8), and the widest the build allows for point sweeps (FW, W lanes).
// AVX-512 and AVX2 builds have 16 and 8 lanes in a register; every other build joins two registers of 4 (SSE2, which every
// x86-64 has, and NEON, which every arm64 has) or of plain numbers. Comparisons return one bit per lane. No fused
// multiply-add anywhere: see the numerical contract in README.md.
#pragma once
#if defined(__AVX2__)
#include "simd_avx2.hpp"
#else
#include "simd_pairs.hpp"
#endif
#if defined(__AVX512F__) && defined(__AVX512VL__)
#include "simd_avx512.hpp"
#endif

namespace pointops {

#if defined(__AVX512F__) && defined(__AVX512VL__)
inline FW square_sum(FW x, FW y, FW z) { return (x * x + y * y) + z * z; }
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
inline void compress(float* p, const FW& a, Mask m) { compress8_store(p, a, m); }
inline void compress(int32_t* p, const IW& a, Mask m) { compress8_store(p, a, m); }
#endif
inline F8 square_sum(const F8& x, const F8& y, const F8& z) { return (x * x + y * y) + z * z; }

// A mask of the first `count` lanes (all of them, or none, beyond either end).
inline Mask first_lanes(int64_t count) {
  return count >= W ? (Mask{1} << (W - 1) << 1) - 1 : count <= 0 ? 0 : (Mask{1} << count) - 1;
}

inline float square_sum(float x, float y, float z) { return (x * x + y * y) + z * z; }

}  // namespace pointops
