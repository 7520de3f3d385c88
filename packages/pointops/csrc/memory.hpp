// Arrays that are not cleared when they are made (every element is written before it is read), in memory that is kept
// from call to call: fresh pages of the operating system cost more than sorting the points that go there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

namespace pointops {

// At least `bytes` of memory aligned to 64; throws std::bad_alloc. Safe in any thread, and in a forked child.
void* take_memory(size_t bytes);
void give_memory(void* memory) noexcept;

// Memory that is about to be filled for the first time, such as a large output: the system is asked to hand it out in
// pages of 2 MB, since a fault for each page of 4 KB can take a quarter of a search. A hint without other effect.
void prefer_large_pages(void* memory, size_t bytes) noexcept;

template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(int64_t count) { resize(count); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Array() { give_memory(data_); }

  // Room for `count` elements; what was there before is lost.
  void resize(int64_t count) {
    give_memory(data_);
    data_ = nullptr;
    size_ = 0;
    if (count > 0) data_ = static_cast<T*>(take_memory(static_cast<size_t>(count) * sizeof(T)));
    size_ = count;
  }
  void swap(Array& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace pointops
