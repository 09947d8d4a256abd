// Words whose tokens are known without merging.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ilre {

uint64_t HashWord(absl::string_view word);

// Words that are one token. Built once, then constant and thread-safe.
class WordTable {
 public:
  explicit WordTable(size_t num_words = 0);

  // `word` must outlive this table and not be in it yet; at most as many as said before.
  void Add(absl::string_view word, int32_t id);

  // The word's token, or -1. hash: HashWord(word).
  int32_t Find(absl::string_view word, uint64_t hash) const;

 private:
  struct Slot {
    const char* data = nullptr;
    uint32_t size = 0;
    int32_t id = -1;  // -1: free
  };
  std::vector<Slot> slots_;  // open addressing, at most half full
};

// Where in a text words were merged before, so that they need not be merged again. Forgets at will: each word has one
// place, which the next word of that place takes over. For one text.
class RecentWords {
 public:
  struct Entry {
    uint32_t begin = 0, size = 0;  // of the word in the text, bytes; size 0: free
    uint32_t first_token = 0, num_tokens = 0;
  };

  explicit RecentWords(size_t text_bytes);
  Entry& Place(uint64_t hash) { return entries_[hash & (entries_.size() - 1)]; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace ilre
