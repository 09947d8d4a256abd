// Memory that starts on a cache line, so that vector loads never straddle two.
#pragma once

#include <cstddef>
#include <vector>

namespace ilre::kernels {

inline constexpr size_t kCacheLine = 64;  // bytes; also the widest vector

// Large blocks (1.5 MiB and more) start on a huge page and ask the system for such: weights stream from memory about
// twice as fast with few address translations. Throws std::bad_alloc, as containers expect.
void* AllocateAligned(size_t bytes);
void FreeAligned(void* memory);

template <typename T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}  // NOLINT: an allocator converts

  T* allocate(size_t count) { return static_cast<T*>(AllocateAligned(count * sizeof(T))); }
  void deallocate(T* memory, size_t) { FreeAligned(memory); }

  template <typename U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace ilre::kernels
