// Byte-pair encoding proper: neighbouring symbols of a word are merged, best pair first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ilre {

struct BpeSymbol {
  int32_t id;
  uint32_t end;  // byte offset in the word behind what the symbol stands for
};

// Which pairs of symbols may be merged, how urgently, and into what. Built once, then constant and thread-safe.
class BpeMerger {
 public:
  // Memory that Merge needs; kept by the caller from word to word.
  struct Scratch {
    std::vector<uint64_t> pairs;       // [symbols] rank and merged id of the pair that begins at each symbol
    std::vector<uint64_t> heap;        // rank and position of pairs, best first
    std::vector<uint32_t> next, prev;  // [symbols] links between the symbols that are left
  };

  // Room for `num_pairs` pairs.
  explicit BpeMerger(size_t num_pairs);

  // A pair given again replaces the former. rank: lower is merged first; below 2^31. Ids are not negative.
  void AddPair(int32_t left, int32_t right, uint32_t rank, int32_t merged);

  // Merges the pair of the lowest rank, leftmost first, until there is none: O(n log n) for n symbols.
  void Merge(std::vector<BpeSymbol>* symbols, Scratch* scratch) const;

 private:
  struct Slot {
    uint64_t key = kNoKey;
    uint64_t pair = 0;
  };
  static constexpr uint64_t kNoKey = ~uint64_t{0};

  // rank << 32 | merged id, or kNoPair.
  uint64_t Find(int32_t left, int32_t right) const;
  size_t SlotOf(uint64_t key) const;

  // Two ways to the same result: by searching all pairs each time, and by a heap.
  void MergeShort(std::vector<BpeSymbol>* symbols, Scratch* scratch) const;
  void MergeLong(std::vector<BpeSymbol>* symbols, Scratch* scratch) const;

  // Open addressing, at most half full.
  std::vector<Slot> slots_;
  int shift_;  // 64 - log2(slots)
};

}  // namespace ilre
