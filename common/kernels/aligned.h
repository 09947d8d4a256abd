// Memory that starts on a cache line, so that vector loads never straddle two.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace ilre::kernels {

inline constexpr size_t kCacheLine = 64;  // bytes; also the widest vector

template <typename T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}  // NOLINT: an allocator converts

  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(kCacheLine))); }
  void deallocate(T* pointer, size_t) { ::operator delete(pointer, std::align_val_t(kCacheLine)); }

  template <typename U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace ilre::kernels
