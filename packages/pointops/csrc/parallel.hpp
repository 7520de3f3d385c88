// Threads that live for one call. Nothing survives the call, so a forked child can use the library at once
// (a pool kept by an OpenMP runtime would make it hang). Work is written to disjoint places: any schedule gives
// the same result.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace pointops {

// Calls body(begin, end) for pieces of [0, count) of at most `piece`, on at most `threads` threads.
template <class Body>
void parallel_for(int threads, int64_t count, int64_t piece, const Body& body) {
  const int64_t pieces = (count + piece - 1) / piece;
  const int workers = static_cast<int>(pieces < threads ? pieces : threads);
  if (workers <= 1) {
    if (count > 0) body(int64_t{0}, count);
    return;
  }
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  auto work = [&] {
    try {
      for (int64_t p = next++; p < pieces; p = next++) {
        const int64_t begin = p * piece;
        body(begin, begin + piece < count ? begin + piece : count);
      }
    } catch (...) {
      std::lock_guard<std::mutex> hold(guard);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> crew;
  crew.reserve(workers - 1);
  try {
    for (int i = 1; i < workers; ++i) crew.emplace_back(work);
  } catch (...) {
    // Fewer threads than asked for: the rest is done here.
  }
  work();
  for (auto& member : crew) member.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace pointops
