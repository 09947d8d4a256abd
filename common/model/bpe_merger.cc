#include "common/model/bpe_merger.h"

#include <algorithm>
#include <functional>

#include "common/base/check.h"

namespace ilre {
namespace {

constexpr uint64_t kNoPair = ~uint64_t{0};
constexpr uint32_t kNone = ~uint32_t{0};
constexpr size_t kMaxShort = 48;  // symbols; up to here searching is faster than a heap

uint64_t KeyOf(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
uint32_t RankOf(uint64_t pair) { return static_cast<uint32_t>(pair >> 32); }
int32_t MergedOf(uint64_t pair) { return static_cast<int32_t>(pair & 0xFFFFFFFF); }

}  // namespace

BpeMerger::BpeMerger(size_t num_pairs) {
  int bits = 4;
  while ((size_t{1} << bits) < 2 * num_pairs) ++bits;
  slots_.resize(size_t{1} << bits);
  shift_ = 64 - bits;
}

// Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4) after mixing the halves.
size_t BpeMerger::SlotOf(uint64_t key) const {
  return static_cast<size_t>((key ^ key >> 29) * 0x9E3779B97F4A7C15u >> shift_);
}

void BpeMerger::AddPair(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  ILRE_CHECK(left >= 0 && right >= 0 && merged >= 0 && rank < uint32_t{1} << 31);
  const uint64_t key = KeyOf(left, right);
  const size_t mask = slots_.size() - 1;
  size_t at = SlotOf(key);
  while (slots_[at].key != kNoKey && slots_[at].key != key) at = (at + 1) & mask;
  slots_[at] = {key, uint64_t{rank} << 32 | static_cast<uint32_t>(merged)};
}

inline uint64_t BpeMerger::Find(int32_t left, int32_t right) const {
  const uint64_t key = KeyOf(left, right);
  const size_t mask = slots_.size() - 1;
  for (size_t at = SlotOf(key);; at = (at + 1) & mask) {
    if (slots_[at].key == key) return slots_[at].pair;
    if (slots_[at].key == kNoKey) return kNoPair;
  }
}

void BpeMerger::Merge(std::vector<BpeSymbol>* symbols, Scratch* scratch) const {
  if (symbols->size() < 2) return;
  if (symbols->size() <= kMaxShort) {
    MergeShort(symbols, scratch);
  } else {
    MergeLong(symbols, scratch);
  }
}

void BpeMerger::MergeShort(std::vector<BpeSymbol>* symbols, Scratch* scratch) const {
  BpeSymbol* const s = symbols->data();
  size_t n = symbols->size();
  scratch->pairs.resize(n);
  uint64_t* const pairs = scratch->pairs.data();  // of n symbols the last begins no pair
  for (size_t i = 0; i + 1 < n; ++i) pairs[i] = Find(s[i].id, s[i + 1].id);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (RankOf(pairs[i]) < RankOf(pairs[best])) best = i;
    }
    if (pairs[best] == kNoPair) break;
    s[best] = {MergedOf(pairs[best]), s[best + 1].end};
    std::copy(s + best + 2, s + n, s + best + 1);
    std::copy(pairs + best + 2, pairs + n, pairs + best + 1);
    --n;
    if (best > 0) pairs[best - 1] = Find(s[best - 1].id, s[best].id);
    if (best + 1 < n) pairs[best] = Find(s[best].id, s[best + 1].id);
  }
  symbols->resize(n);
}

void BpeMerger::MergeLong(std::vector<BpeSymbol>* symbols, Scratch* scratch) const {
  std::vector<BpeSymbol>& s = *symbols;
  const uint32_t n = static_cast<uint32_t>(s.size());
  auto& [pairs, heap, next, prev] = *scratch;
  pairs.assign(n, kNoPair);
  next.resize(n);
  prev.resize(n);
  heap.clear();
  const auto heap_key = [&pairs = pairs](uint32_t at) { return uint64_t{RankOf(pairs[at])} << 32 | at; };
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : kNone;
    prev[i] = i > 0 ? i - 1 : kNone;
    if (i + 1 < n) pairs[i] = Find(s[i].id, s[i + 1].id);
    if (pairs[i] != kNoPair) heap.push_back(heap_key(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto look_up = [&, &pairs = pairs, &heap = heap, &next = next](uint32_t at) {
    pairs[at] = next[at] == kNone ? kNoPair : Find(s[at].id, s[next[at]].id);
    if (pairs[at] == kNoPair) return;
    heap.push_back(heap_key(at));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const uint32_t at = static_cast<uint32_t>(top);
    if (pairs[at] == kNoPair || heap_key(at) != top) continue;  // of symbols that were merged meanwhile
    const uint32_t gone = next[at];
    s[at] = {MergedOf(pairs[at]), s[gone].end};
    pairs[gone] = kNoPair;
    next[at] = next[gone];
    if (next[at] != kNone) prev[next[at]] = at;
    look_up(at);
    if (prev[at] != kNone) look_up(prev[at]);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i != kNone; i = next[i]) s[kept++] = s[i];
  s.resize(kept);
}

}  // namespace ilre
