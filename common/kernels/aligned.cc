#include "common/kernels/aligned.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace ilre::kernels {
namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kHugeFrom = kHugePage * 3 / 4;  // below, rounding up to huge pages would waste too much

size_t RoundUp(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

}  // namespace

void* AllocateAligned(size_t bytes) {
  const bool huge = bytes >= kHugeFrom;
  const size_t alignment = huge ? kHugePage : kCacheLine, size = RoundUp(bytes, alignment);
  void* memory = size >= bytes ? std::aligned_alloc(alignment, size) : nullptr;
  if (memory == nullptr && bytes > 0) throw std::bad_alloc();
  if (huge) madvise(memory, size, MADV_HUGEPAGE);  // a wish: without it all works, only slower
  return memory;
}

void FreeAligned(void* memory) { std::free(memory); }

}  // namespace ilre::kernels
