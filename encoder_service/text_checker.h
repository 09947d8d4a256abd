// Refuses what is not text: NULs and what is not UTF-8, in a stream of bytes that may be cut anywhere.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ilre {

class TextChecker {
 public:
  TextChecker() = default;
  // Goes on behind `size` bytes that were accepted; `end` are the last of them, four or more if there are as many.
  TextChecker(uint64_t size, absl::string_view end);

  // The next bytes. INVALID_ARGUMENT with reason BINARY_TEXT or NOT_UTF8, naming the offset of the first wrong byte;
  // then it is as if the call had not been made. A character may be incomplete so far.
  absl::Status Take(absl::string_view bytes);

  // Whether the text may end here: NOT_UTF8 within a character.
  absl::Status CheckEnd() const;

 private:
  uint64_t size_ = 0;    // bytes taken
  std::string partial_;  // the last of them, if they begin a character
};

}  // namespace ilre
