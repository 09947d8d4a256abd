#include "common/model/word_table.h"

#include <xxhash.h>

#include <cstring>

#include "absl/strings/string_view.h"

namespace ilre {

uint64_t HashWord(absl::string_view word) { return XXH3_64bits(word.data(), word.size()); }

WordTable::WordTable(size_t num_words) {
  size_t size = 16;
  while (size < 2 * num_words) size *= 2;
  slots_.resize(size);
}

void WordTable::Add(absl::string_view word, int32_t id) {
  const size_t mask = slots_.size() - 1;
  size_t at = HashWord(word) & mask;
  while (slots_[at].id >= 0) at = (at + 1) & mask;
  slots_[at] = {word.data(), static_cast<uint32_t>(word.size()), id};
}

int32_t WordTable::Find(absl::string_view word, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.size == word.size() && std::memcmp(slot.data, word.data(), word.size()) == 0) return slot.id;
  }
  return -1;
}

RecentWords::RecentWords(size_t text_bytes) {
  constexpr size_t kMaxEntries = 4096;  // 64 KiB of memory
  size_t size = 16;
  while (size < text_bytes / 32 && size < kMaxEntries) size *= 2;
  entries_.resize(size);
}

}  // namespace ilre
