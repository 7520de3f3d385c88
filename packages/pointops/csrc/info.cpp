#include <cstring>

#include "pointops.h"

extern "C" int pointops_version(void) { return 5; }

extern "C" const char* pointops_flavor(void) {
#if defined(__AVX512F__) && defined(__AVX512VL__)
  return "avx512";
#elif defined(__AVX2__)
  return "avx2";
#else
  return "baseline";
#endif
}

extern "C" int pointops_supports(const char* flavor) {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
  if (!std::strcmp(flavor, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2");
  if (!std::strcmp(flavor, "avx2")) return __builtin_cpu_supports("avx2") != 0;
#endif
  return !std::strcmp(flavor, "baseline");
}
