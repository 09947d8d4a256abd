#include "retriever_service/word_finder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "common/base/status_macros.h"
#include "common/retrieval/lexical.h"
#include "retriever_service/span_reader.h"

namespace ilre {
namespace {

constexpr uint32_t kMaxRunOn = 16;  // tokens of a word after the end of its segment

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || static_cast<uint8_t>(c) >= 0x80;
}

}  // namespace

absl::StatusOr<absl::optional<FoundWord>> FindWord(const KeyStoreReader& store, absl::Span<const DocumentRow> documents,
                                                   const ScoredSegment& segment, uint32_t word) {
  const DocumentRow& row = documents[segment.document];
  const uint32_t begin_token = segment.begin - (segment.begin > 0 ? 1 : 0);
  const auto end_token = static_cast<uint32_t>(std::min<uint64_t>(row.num_tokens, uint64_t{segment.end} + kMaxRunOn));
  ILRE_ASSIGN_OR_RETURN(const StoredTokens read, ReadTokens(store, row, begin_token, end_token));
  const absl::string_view text = read.text;
  size_t begin = 0;  // byte where a run of tokens begins that words do not leave
  uint32_t run = begin_token;
  for (uint32_t i = 0; i < read.ends.size() && run < segment.end; ++i) {
    const size_t end = read.ends[i];
    if (end > 0 && end < text.size() && IsWordByte(text[end - 1]) && IsWordByte(text[end])) continue;
    const absl::string_view found = WordWithHash(text.substr(begin, end - begin), word);
    if (run >= segment.begin && !found.empty()) {
      FoundWord result{.place = segment, .word = std::string(found)};
      result.place.begin = run;
      result.place.end = begin_token + i + 1;
      return absl::optional<FoundWord>(std::move(result));
    }
    begin = end;
    run = begin_token + i + 1;
  }
  return absl::optional<FoundWord>();
}

}  // namespace ilre
