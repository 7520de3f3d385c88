// Every kernel on awkward clouds against brute force, to be built with sanitizers or for another processor (see
// packages/pointops/README.md). Prints the number of calls and of wrong answers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "../../packages/pointops/csrc/pointops.h"

namespace {

constexpr int kKinds = 10;
long calls = 0, failures = 0;

std::vector<float> cloud(int kind, int count, std::mt19937& random) {
  std::uniform_real_distribution<float> unit(0, 1);
  std::vector<float> xyz(3 * count);
  for (int i = 0; i < count; ++i)
    for (int a = 0; a < 3; ++a) {
      float v = unit(random);
      if (kind == 1) v = 0.3f;                                                // all equal
      if (kind == 2) v = std::floor(v * 4) / 4;                               // lattice
      if (kind == 3 && a == 2) v = 0;                                         // coplanar
      if (kind == 4) v = a == 0 ? v : xyz[3 * i];                             // collinear
      if (kind == 5) v = (v - 0.5f) * 2e18f;                                  // huge
      if (kind == 6) v = v * 1e-38f;                                          // denormal
      if (kind == 7) v = i == 0 ? 1e9f : v;                                   // an outlier
      if (kind == 8) v = v * 0.01f + static_cast<float>(i % 3);               // clusters
      if (kind == 9) v = i >= 5 && i % 2 ? xyz[3 * (i - 5) + a] : v + 1000;   // duplicates, far from the origin
      xyz[3 * i + a] = v;
    }
  return xyz;
}

// Two scenes, end to end.
struct Batch {
  std::vector<float> xyz;
  int64_t ends[2];
  int64_t start(int s) const { return s ? ends[0] : 0; }
  int64_t size() const { return ends[1]; }
};

using Hit = std::pair<float, int32_t>;  // squared distance, row

float distance2(const float* a, const float* b) {
  const float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
  return (x * x + y * y) + z * z;
}

// All distances of query q, by (distance, row).
std::vector<Hit> sorted(const Batch& cloud, int scene, const float* query) {
  std::vector<Hit> hits;
  for (int64_t i = cloud.start(scene); i < cloud.ends[scene]; ++i)
    hits.emplace_back(distance2(&cloud.xyz[3 * i], query), static_cast<int32_t>(i));
  std::sort(hits.begin(), hits.end());
  return hits;
}

void expect(bool holds, const char* what) {
  ++calls;
  if (holds) return;
  ++failures;
  std::printf("wrong: %s\n", what);
}

bool same_line(const std::vector<Hit>& want, int64_t k, int32_t filler, float far, const int32_t* idx, const float* dist) {
  for (int64_t j = 0; j < k; ++j) {
    const bool real = j < static_cast<int64_t>(want.size());
    if (idx[j] != (real ? want[j].second : filler) || dist[j] != (real ? std::sqrt(want[j].first) : far)) return false;
  }
  return true;
}

void check_searches(const Batch& cloud, const Batch& query, int64_t k, int threads, void* index, void* query_index,
                    const std::vector<std::vector<Hit>>& all) {
  std::vector<int32_t> idx(query.size() * k);
  std::vector<float> dist(query.size() * k);
  int code = pointops_knn(cloud.xyz.data(), cloud.ends, 2, index, query.xyz.data(), query.ends, query_index, k, 1, threads,
                          idx.data(), dist.data());
  bool good = code == POINTOPS_OK;
  for (int s = 0; s < 2; ++s)
    for (int64_t q = query.start(s); q < query.ends[s] && good; ++q)
      good = same_line(all[q], k, cloud.ends[s] > cloud.start(s) ? static_cast<int32_t>(cloud.start(s)) : -1, 1e5f, &idx[q * k],
                       &dist[q * k]);
  expect(good, "knn");
  std::vector<int32_t> rows(idx.size());
  code = pointops_knn(cloud.xyz.data(), cloud.ends, 2, index, query.xyz.data(), query.ends, query_index, k, 1, threads,
                      rows.data(), nullptr);
  expect(code == POINTOPS_OK && rows == idx, "knn without distances");
  const float high2 = 0.09f, low2 = 0.001f;
  for (int variant = 0; variant < 4; ++variant) {
    const bool nearest = variant & 1, inclusive = variant & 2;
    code = pointops_ball(cloud.xyz.data(), cloud.ends, 2, index, query.xyz.data(), query.ends, query_index, k, low2, high2,
                         inclusive, nearest, 0, threads, idx.data(), dist.data());
    good = code == POINTOPS_OK;
    for (int64_t q = 0; q < query.size() && good; ++q) {
      std::vector<Hit> hits;
      for (const Hit& hit : all[q])
        if (hit.first == 0 || (hit.first >= low2 && (inclusive ? hit.first <= high2 : hit.first < high2))) hits.push_back(hit);
      if (!nearest) std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.second < b.second; });
      good = same_line(hits, k, -1, 1e5f, &idx[q * k], &dist[q * k]);
    }
    expect(good, "ball");
  }
}

// Another radius for each query, and all that lies within.
void check_radius(const Batch& cloud, const Batch& query, int threads, void* index,
                  const std::vector<std::vector<Hit>>& all) {
  std::vector<float> radius2(query.size());
  for (int64_t q = 0; q < query.size(); ++q) radius2[q] = q % 5 ? 0.01f * static_cast<float>(q % 7) : 1e30f;
  for (int variant = 0; variant < 4; ++variant) {
    const bool nearest = variant & 1, inclusive = variant & 2;
    std::vector<int64_t> count(query.size()), first(query.size());
    int code = pointops_radius_count(cloud.xyz.data(), cloud.ends, 2, index, query.xyz.data(), query.ends, radius2.data(),
                                     inclusive, threads, count.data());
    int64_t total = 0;
    for (int64_t q = 0; q < query.size(); ++q) {
      first[q] = total;
      total += count[q];
    }
    std::vector<int32_t> idx(total);
    std::vector<float> dist(total);
    if (code == POINTOPS_OK)
      code = pointops_radius_fill(cloud.xyz.data(), cloud.ends, 2, index, query.xyz.data(), query.ends, radius2.data(),
                                  inclusive, nearest, threads, first.data(), idx.data(), dist.data());
    bool good = code == POINTOPS_OK;
    for (int64_t q = 0; q < query.size() && good; ++q) {
      std::vector<Hit> hits;
      for (const Hit& hit : all[q])
        if (hit.first == 0 || (inclusive ? hit.first <= radius2[q] : hit.first < radius2[q])) hits.push_back(hit);
      if (!nearest) std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.second < b.second; });
      good = static_cast<int64_t>(hits.size()) == count[q] &&
             same_line(hits, count[q], -1, 1e5f, idx.data() + first[q], dist.data() + first[q]);
    }
    expect(good, "radius");
  }
}

// `a_index` and `b_index` are of a and b, or nothing.
void check_pair(const Batch& a, const Batch& b, int threads, void* a_index, void* b_index) {
  std::vector<float> there(a.size()), back(b.size());
  std::vector<int32_t> there_row(a.size()), back_row(b.size());
  const int code = pointops_nearest_pair(a.xyz.data(), a.ends, 2, a_index, b.xyz.data(), b.ends, b_index, threads,
                                         there.data(), there_row.data(), back.data(), back_row.data());
  std::vector<float> alone(a.size());
  std::vector<int32_t> alone_row(a.size());
  const int one_way = pointops_nearest_pair(a.xyz.data(), a.ends, 2, a_index, b.xyz.data(), b.ends, b_index, threads,
                                            alone.data(), alone_row.data(), nullptr, nullptr);
  expect(one_way == POINTOPS_OK && alone == there && alone_row == there_row, "nearest one way");
  bool good = code == POINTOPS_OK;
  const auto compare = [&](const Batch& from, const Batch& to, const float* d2, const int32_t* row) {
    for (int s = 0; s < 2; ++s)
      for (int64_t i = from.start(s); i < from.ends[s]; ++i) {
        Hit best{0.0f, -1};
        for (int64_t j = to.start(s); j < to.ends[s]; ++j) {
          const Hit hit{distance2(&to.xyz[3 * j], &from.xyz[3 * i]), static_cast<int32_t>(j)};
          if (best.second < 0 || hit < best) best = hit;
        }
        good = good && d2[i] == best.first && row[i] == best.second;
      }
  };
  compare(a, b, there.data(), there_row.data());
  compare(b, a, back.data(), back_row.data());
  expect(good, "nearest pair");
}

// From the first row of each scene, or from another.
void check_sampling(const Batch& cloud, bool skip_origin, bool elsewhere, int threads, void* index) {
  int64_t starts[2];
  for (int s = 0; s < 2; ++s)
    starts[s] = cloud.start(s) + (elsewhere ? std::max<int64_t>(0, (cloud.ends[s] - cloud.start(s)) * 2 / 3 - 1) : 0);
  int64_t ends[2];
  for (int s = 0; s < 2; ++s) {
    const int64_t size = cloud.ends[s] - cloud.start(s);
    ends[s] = (s ? ends[0] : 0) + (size ? size / 2 + 3 : 0);
  }
  std::vector<int32_t> sample(ends[1]);
  std::vector<float> radius2(ends[1]);
  const int code = pointops_fps(cloud.xyz.data(), cloud.ends, 2, index, ends, elsewhere ? starts : nullptr, skip_origin,
                                threads, sample.data(), radius2.data());
  bool good = code == POINTOPS_OK;
  for (int s = 0; s < 2 && good; ++s) {
    const int64_t start = cloud.start(s), size = cloud.ends[s] - start;
    std::vector<float> nearest(size, 1e38f);
    for (int64_t i = 0; i < size; ++i) {
      const float* p = &cloud.xyz[3 * (start + i)];
      if (skip_origin && (p[0] * p[0] + p[1] * p[1]) + p[2] * p[2] <= 1e-3f) nearest[i] = -1;
    }
    int64_t last = starts[s] - start;
    float far2 = std::numeric_limits<float>::infinity();
    bool over = false;  // nothing is left but copies of chosen points
    for (int64_t j = s ? ends[0] : 0; j < ends[s] && good; ++j) {
      good = sample[j] == start + last && radius2[j] == far2;
      if (over) continue;
      const float* chosen = &cloud.xyz[3 * (start + last)];
      for (int64_t i = 0; i < size; ++i) nearest[i] = std::min(nearest[i], distance2(&cloud.xyz[3 * (start + i)], chosen));
      const int64_t far = std::max_element(nearest.begin(), nearest.end()) - nearest.begin();
      last = nearest[far] < 0 ? starts[s] - start : far;
      far2 = std::max(nearest[far], 0.0f);
      over = nearest[far] <= 0;
    }
  }
  expect(good, "farthest point sampling");
}

void check(const Batch& cloud, const Batch& query, bool skip_origin) {
  std::vector<std::vector<Hit>> all(query.size()), self(cloud.size());
  for (int s = 0; s < 2; ++s) {
    for (int64_t q = query.start(s); q < query.ends[s]; ++q) all[q] = sorted(cloud, s, &query.xyz[3 * q]);
    for (int64_t q = cloud.start(s); q < cloud.ends[s]; ++q) self[q] = sorted(cloud, s, &cloud.xyz[3 * q]);
  }
  void *index = nullptr, *query_index = nullptr;
  expect(pointops_index_make(cloud.xyz.data(), cloud.ends, 2, 2, &index) == POINTOPS_OK, "index");
  expect(pointops_index_make(query.xyz.data(), query.ends, 2, 1, &query_index) == POINTOPS_OK, "index");
  for (int64_t k : {1, 3, 16, 100})
    for (int threads : {1, 3}) {
      check_searches(cloud, query, k, threads, nullptr, nullptr, all);
      check_searches(cloud, cloud, k, threads, nullptr, nullptr, self);
      check_searches(cloud, query, k, threads, index, query_index, all);
    }
  for (int threads : {1, 3}) {
    check_radius(cloud, query, threads, nullptr, all);
    check_radius(cloud, query, threads, index, all);
    check_pair(cloud, query, threads, nullptr, nullptr);
    check_pair(cloud, query, threads, index, query_index);
    for (bool elsewhere : {false, true}) {
      check_sampling(cloud, skip_origin, elsewhere, threads, nullptr);
      check_sampling(cloud, skip_origin, elsewhere, threads, index);
    }
  }
  pointops_index_free(index);
  pointops_index_free(query_index);
}

}  // namespace

// The first argument, if any, is the largest cloud: smaller for slow emulators.
int main(int count, char** arguments) {
  const int largest = count > 1 ? std::atoi(arguments[1]) : 1200;
  std::mt19937 random(0);
  for (int kind = 0; kind < kKinds; ++kind)
    for (int n : {0, 1, 2, 7, 8, 9, 63, 65, 400, 1200})
      for (int m : {0, 1, 9, 150}) {
        if (n > largest) continue;
        const Batch points{cloud(kind, n + n / 3, random), {n, n + n / 3}};
        const Batch queries{cloud((kind + n) % kKinds, m + 5, random), {m, m + 5}};
        check(points, queries, kind % 2);
      }
  // Clouds with more leaves than one list of the search for pairs holds.
  for (int kind = 0; kind < kKinds && largest >= 1200; ++kind) {
    const Batch points{cloud(kind, 4000, random), {3500, 4000}};
    const Batch queries{cloud((kind + kind % 3) % kKinds, 3000, random), {2800, 3000}};
    for (int threads : {1, 3}) check_pair(points, queries, threads, nullptr, nullptr);
  }
  float bad[] = {0, 0, std::numeric_limits<float>::quiet_NaN()};
  const int64_t one = 1;
  int32_t row;
  float distance;
  expect(pointops_knn(bad, &one, 1, nullptr, bad, &one, nullptr, 1, 0, 1, &row, &distance) == POINTOPS_BAD_COORDINATE, "nan");
  std::printf("%s: %ld calls, %ld failures\n", pointops_flavor(), calls, failures);
  return failures != 0;
}
