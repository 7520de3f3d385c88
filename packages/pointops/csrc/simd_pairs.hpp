// Eight lanes as two times four, where no instruction set has eight.
#pragma once
#include "simd_four.hpp"

namespace pointops {

struct F8 {
  F4 a, b;
};
struct I8 {
  I4 a, b;
};
inline F8 load8(const float* p) { return {load4(p), load4(p + 4)}; }
inline I8 load8(const int32_t* p) { return {load4(p), load4(p + 4)}; }
inline void store8(float* p, F8 x) { store4(p, x.a), store4(p + 4, x.b); }
inline void store8(int32_t* p, I8 x) { store4(p, x.a), store4(p + 4, x.b); }
inline F8 all8(float x) { return {all4(x), all4(x)}; }
inline I8 all8(int32_t x) { return {all4(x), all4(x)}; }
inline F8 operator+(F8 x, F8 y) { return {x.a + y.a, x.b + y.b}; }
inline F8 operator-(F8 x, F8 y) { return {x.a - y.a, x.b - y.b}; }
inline F8 operator*(F8 x, F8 y) { return {x.a * y.a, x.b * y.b}; }
inline I8 operator+(I8 x, I8 y) { return {x.a + y.a, x.b + y.b}; }
inline F8 root(F8 x) { return {root(x.a), root(x.b)}; }
inline F8 min(F8 x, F8 y) { return {min(x.a, y.a), min(x.b, y.b)}; }
inline F8 max(F8 x, F8 y) { return {max(x.a, y.a), max(x.b, y.b)}; }

struct Lanes {
  M4 a, b;
};
inline Lanes less(F8 x, F8 y) { return {less4(x.a, y.a), less4(x.b, y.b)}; }
inline Lanes less(I8 x, I8 y) { return {less4(x.a, y.a), less4(x.b, y.b)}; }
inline Lanes less_equal(F8 x, F8 y) { return {less_equal4(x.a, y.a), less_equal4(x.b, y.b)}; }
inline Lanes equal(F8 x, F8 y) { return {equal4(x.a, y.a), equal4(x.b, y.b)}; }
inline bool any(Lanes m) { return any4(either4(m.a, m.b)); }
inline Mask bits(Lanes m) { return bits4(m.a) | bits4(m.b) << 4; }
inline Lanes lanes_of(Mask m) { return {lanes4(m), lanes4(m >> 4)}; }
inline I8 select(Lanes m, I8 yes, I8 no) { return {select4(m.a, yes.a, no.a), select4(m.b, yes.b, no.b)}; }

inline Mask operator<(F8 x, F8 y) { return bits(less(x, y)); }
inline Mask operator<=(F8 x, F8 y) { return bits(less_equal(x, y)); }
inline Mask operator==(F8 x, F8 y) { return bits(equal(x, y)); }
inline Mask operator<(I8 x, I8 y) { return bits(less(x, y)); }
inline I8 select(Mask m, I8 yes, I8 no) { return select(lanes_of(m), yes, no); }
inline F8 select(Mask m, F8 yes, F8 no) {
  const Lanes l = lanes_of(m);
  return {as_float(select4(l.a, as_bits(yes.a), as_bits(no.a))), as_float(select4(l.b, as_bits(yes.b), as_bits(no.b)))};
}
// counter + 1 where x < y
inline I8 count_less(I8 counter, F8 x, F8 y) { return {counter.a - less4(x.a, y.a), counter.b - less4(x.b, y.b)}; }
inline I8 count_less(I8 counter, I8 x, I8 y) { return {counter.a - less4(x.a, y.a), counter.b - less4(x.b, y.b)}; }
inline F8 next_up(F8 x) { return {as_float(as_bits(x.a) + all4(1)), as_float(as_bits(x.b) + all4(1))}; }

inline float highest(F8 x) {
  float lane[4];
  store4(lane, max(x.a, x.b));
  const float low = lane[0] > lane[1] ? lane[0] : lane[1], high = lane[2] > lane[3] ? lane[2] : lane[3];
  return low > high ? low : high;
}
inline float lowest(F8 x) {
  float lane[4];
  store4(lane, min(x.a, x.b));
  const float low = lane[0] < lane[1] ? lane[0] : lane[1], high = lane[2] < lane[3] ? lane[2] : lane[3];
  return low < high ? low : high;
}

// Writes the lanes of m to p, in order; up to 8 lanes beyond them are overwritten.
inline void compress8_store(float* p, F8 x, Mask m) {
  if (m) compress4_store(p + compress4_store(p, x.a, m & 15), x.b, m >> 4);
}
inline void compress8_store(int32_t* p, I8 x, Mask m) {
  if (m) compress4_store(p + compress4_store(p, x.a, m & 15), x.b, m >> 4);
}

}  // namespace pointops
