// Every kernel on awkward clouds, to be built with sanitizers (see README.md). Prints the number of calls.
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "../pointops.h"

namespace {

std::vector<float> cloud(int kind, int count, std::mt19937& random) {
  std::uniform_real_distribution<float> unit(0, 1);
  std::vector<float> xyz(3 * count);
  for (int i = 0; i < count; ++i)
    for (int a = 0; a < 3; ++a) {
      float v = unit(random);
      if (kind == 1) v = 0.3f;                                  // all equal
      if (kind == 2) v = std::floor(v * 4) / 4;                 // lattice
      if (kind == 3 && a == 2) v = 0;                           // coplanar
      if (kind == 4) v = a == 0 ? v : xyz[3 * i];               // collinear
      if (kind == 5) v = (v - 0.5f) * 2e18f;                    // huge
      if (kind == 6) v = v * 1e-38f;                            // denormal
      if (kind == 7) v = i == 0 ? 1e9f : v;                     // an outlier
      xyz[3 * i + a] = v;
    }
  return xyz;
}

}  // namespace

int main() {
  std::mt19937 random(0);
  const int sizes[] = {0, 1, 2, 7, 8, 9, 63, 64, 65, 513, 2000};
  long calls = 0, failures = 0;
  for (int kind = 0; kind < 8; ++kind)
    for (int n : sizes)
      for (int m : {0, 1, 9, 300}) {
        const int second = n / 3;
        std::vector<float> xyz = cloud(kind, n + second, random), query = cloud((kind + n) % 8, m + 5, random);
        const int64_t ends[] = {n, n + second}, query_ends[] = {m, m + 5};
        for (int k : {1, 3, 16, 200})
          for (int threads : {1, 3}) {
            std::vector<int32_t> idx((m + 5) * k), self((n + second) * k);
            std::vector<float> dist((m + 5) * k), self_dist((n + second) * k);
            failures += pointops_knn(xyz.data(), ends, 2, query.data(), query_ends, k, 1, threads, idx.data(), dist.data());
            failures += pointops_knn(xyz.data(), ends, 2, xyz.data(), ends, k, 0, threads, self.data(), self_dist.data());
            for (int nearest : {0, 1})
              failures += pointops_ball(xyz.data(), ends, 2, query.data(), query_ends, k, 0.0f, 0.3f, nearest, nearest, 1,
                                        threads, idx.data(), dist.data());
            calls += 4;
          }
        std::vector<float> d(n + second), e(m + 5);
        std::vector<int32_t> i(n + second), j(m + 5);
        failures += pointops_nearest_pair(xyz.data(), ends, 2, query.data(), query_ends, 2, d.data(), i.data(), e.data(), j.data());
        const int64_t sample_ends[] = {n ? n / 2 + 3 : 0, (n ? n / 2 + 3 : 0) + (second ? second + 2 : 0)};
        std::vector<int32_t> sample(sample_ends[1]);
        failures += pointops_fps(xyz.data(), ends, 2, sample_ends, kind % 2, 2, sample.data());
        calls += 2;
      }
  float bad[] = {0, 0, std::numeric_limits<float>::quiet_NaN()};
  const int64_t one = 1;
  int32_t row;
  float distance;
  failures += pointops_knn(bad, &one, 1, bad, &one, 1, 0, 1, &row, &distance) != POINTOPS_BAD_COORDINATE;
  std::printf("%ld calls, %ld failures\n", calls, failures);
  return failures != 0;
}
