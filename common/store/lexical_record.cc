// The bytes of one block's postings: columns, because equal columns of many blocks compress together.
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/store/coding.h"
#include "common/store/record_seal.h"
#include "common/store/records.h"

namespace ilre {
namespace {

constexpr uint8_t kLexicalVersion = 1;
constexpr char kDamaged[] = "LEXICAL_DAMAGED";
constexpr size_t kMaxPostings = size_t{1} << 24;  // a word has at least one byte of the block's text

// What is wrong with `data`; empty if nothing is.
std::string Fault(const LexicalData& data) {
  // One may run on from the block before, and each token may start one.
  if (data.segment_words.size() > kBlockTokens + 1) return absl::StrCat(data.segment_words.size(), " segments");
  if (data.postings.size() > kMaxPostings) return absl::StrCat(data.postings.size(), " postings");
  const LexicalPosting* before = nullptr;
  for (const LexicalPosting& posting : data.postings) {
    if (posting.segment >= data.segment_words.size()) return "a posting in a segment that is not there";
    if (posting.count == 0) return "a posting without a word";
    if (before != nullptr &&
        std::pair(before->word_hash, before->segment) >= std::pair(posting.word_hash, posting.segment)) {
      return "postings that do not ascend";
    }
    before = &posting;
  }
  return "";
}

}  // namespace

absl::Status ValidateLexical(const LexicalData& data) {
  const std::string fault = Fault(data);
  if (fault.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_LEXICAL", fault);
}

std::string EncodeLexical(absl::string_view key, const LexicalData& data) {
  ILRE_CHECK(Fault(data).empty());
  std::string value;
  value.reserve(7 + data.postings.size() * 6 + data.segment_words.size() * 2 + kSealBytes);
  AppendLittle<uint8_t>(&value, kLexicalVersion);
  AppendLittle<uint16_t>(&value, static_cast<uint16_t>(data.segment_words.size()));
  AppendLittle<uint32_t>(&value, static_cast<uint32_t>(data.postings.size()));
  for (uint16_t words : data.segment_words) AppendLittle(&value, words);
  for (const LexicalPosting& posting : data.postings) AppendLittle(&value, posting.word_hash);
  for (const LexicalPosting& posting : data.postings) AppendLittle(&value, posting.segment);
  for (const LexicalPosting& posting : data.postings) AppendLittle(&value, posting.count);
  SealRecord(key, &value);
  return value;
}

absl::StatusOr<LexicalData> ParseLexical(absl::string_view key, absl::string_view value) {
  ILRE_ASSIGN_OR_RETURN(absl::string_view body, OpenSealedRecord(key, value, kLexicalVersion, kDamaged));
  ByteReader reader(body);
  uint16_t num_segments = 0;
  uint32_t num_postings = 0;
  absl::string_view segment_words, hashes, segments, counts;
  if (!reader.Read(&num_segments) || !reader.Read(&num_postings) ||
      !reader.ReadBytes(uint64_t{num_segments} * 2, &segment_words) ||
      !reader.ReadBytes(uint64_t{num_postings} * 4, &hashes) || !reader.ReadBytes(num_postings, &segments) ||
      !reader.ReadBytes(num_postings, &counts) || !reader.AtEnd()) {
    return DamagedRecord(kDamaged, "its size does not match its counts");
  }
  LexicalData data;
  data.segment_words.resize(num_segments);
  for (size_t i = 0; i < num_segments; ++i) data.segment_words[i] = LoadLittle<uint16_t>(segment_words.data() + 2 * i);
  data.postings.resize(num_postings);
  for (size_t i = 0; i < num_postings; ++i) {
    data.postings[i] = {.word_hash = LoadLittle<uint32_t>(hashes.data() + 4 * i),
                        .segment = static_cast<uint8_t>(segments[i]),
                        .count = static_cast<uint8_t>(counts[i])};
  }
  const std::string fault = Fault(data);
  if (!fault.empty()) return DamagedRecord(kDamaged, fault);
  return data;
}

}  // namespace ilre
