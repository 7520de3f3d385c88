#include "memory.hpp"

#include <atomic>
#include <cstdlib>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace pointops {
namespace {

constexpr size_t kLine = 64;                  // bytes before the memory that hold its size; also its alignment
constexpr size_t kSmall = size_t{16} << 10;   // below this, and above that, nothing is kept
constexpr size_t kLarge = size_t{64} << 20;
constexpr size_t kMostKept = size_t{128} << 20;
constexpr size_t kHuge = size_t{2} << 20;
constexpr int kSlots = 32;

struct Block {
  void* origin;     // as malloc gave it
  size_t capacity;  // bytes after the first line
};

// Each slot is empty or owns a free block. Taking and giving are single exchanges: no lock that a fork could leave held.
std::atomic<Block*> slots[kSlots];
std::atomic<size_t> kept{0};

void release(Block* block) { std::free(block->origin); }

void put(Block* block) {
  kept += block->capacity;
  for (auto& slot : slots) {
    Block* empty = nullptr;
    if (slot.load(std::memory_order_relaxed) == nullptr && slot.compare_exchange_strong(empty, block)) return;
  }
  kept -= block->capacity;
  release(block);
}

}  // namespace

void* take_memory(size_t bytes) {
  // Sizes in steps of an eighth: clouds of nearly the same size share blocks.
  size_t step = kLine;
  while (step * 16 <= bytes) step *= 2;
  const size_t capacity = (bytes + step - 1) / step * step;
  if (bytes > kSmall && bytes <= kLarge)
    for (auto& slot : slots) {
      if (slot.load(std::memory_order_relaxed) == nullptr) continue;
      Block* block = slot.exchange(nullptr);
      if (!block) continue;
      kept -= block->capacity;
      if (block->capacity >= bytes && block->capacity <= 2 * capacity) return reinterpret_cast<char*>(block) + kLine;
      put(block);
    }
  const bool huge = capacity > kHuge;
  const size_t alignment = huge ? kHuge : kLine;
  void* origin = std::malloc(capacity + kLine + alignment);
  if (!origin) throw std::bad_alloc();
  // The line before the memory belongs to the block, whatever the alignment.
  const uintptr_t address = (reinterpret_cast<uintptr_t>(origin) + kLine + alignment - 1) / alignment * alignment;
  if (huge) prefer_large_pages(reinterpret_cast<void*>(address), capacity);
  Block* block = reinterpret_cast<Block*>(address - kLine);
  block->origin = origin;
  block->capacity = capacity;
  return reinterpret_cast<void*>(address);
}

void prefer_large_pages(void* memory, size_t bytes) noexcept {
#if defined(__linux__)
  const uintptr_t start = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t low = (start + kHuge - 1) / kHuge * kHuge, high = (start + bytes) / kHuge * kHuge;
  if (low < high) madvise(reinterpret_cast<void*>(low), high - low, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

void give_memory(void* memory) noexcept {
  if (!memory) return;
  Block* block = reinterpret_cast<Block*>(static_cast<char*>(memory) - kLine);
  if (block->capacity <= kSmall || block->capacity > kLarge || kept + block->capacity > kMostKept)
    release(block);
  else
    put(block);
}

}  // namespace pointops
