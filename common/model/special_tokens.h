// Finds control and user-defined tokens that are written in a text.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace ilre {

// Built once, then constant and thread-safe.
class SpecialTokenFinder {
 public:
  struct Match {
    size_t begin, end;  // byte offsets in the text
    int32_t id;
  };

  // Empty spellings are ignored; of two alike the first counts.
  void Add(std::string spelling, int32_t id);

  // Bytes of the longest spelling; 0 where there is none.
  size_t max_bytes() const { return max_bytes_; }

  // The leftmost token in `text` from `begin` on, and of those the longest. {size, size, -1} where there is none.
  Match Find(absl::string_view text, size_t begin) const;

 private:
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::vector<size_t> lengths_[256];   // by first byte: lengths of spellings, longest first
  std::bitset<256 * 256> beginnings_;  // first byte * 256 + second: some spelling may begin so
  size_t max_bytes_ = 0;
};

}  // namespace ilre
