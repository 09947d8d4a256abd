#include "cli/eval/other_retriever.h"

#include <cstdint>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/json_output.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/retrieval/segmenter.h"

namespace ilre::cli {
namespace {

std::string KeyOf(const std::string& task, int64_t length, int64_t index, int64_t budget) {
  return absl::StrCat(task, " ", length, " ", index, " ", budget);
}

std::string NameOf(const std::string& task, int length, int index, int budget) {
  return absl::StrCat("task ", task, ", length ", length, ", index ", index, ", budget ", budget);
}

bool ReadNumber(const Json& json, const char* field, int64_t* number) {
  if (!json.contains(field) || !json[field].is_number_unsigned()) return false;
  *number = json[field].get<int64_t>();
  return *number >= 0;
}

bool ReadRanges(const Json& json, std::vector<ByteRange>* ranges) {
  if (!json.is_array()) return false;
  for (const Json& range : json) {
    if (!range.is_array() || range.size() != 2) return false;
    if (!range[0].is_number_unsigned() || !range[1].is_number_unsigned()) return false;
    const ByteRange read = {range[0].get<uint64_t>(), range[1].get<uint64_t>()};
    if (read.begin >= read.end || (!ranges->empty() && read.begin < ranges->back().end)) return false;
    if (!ranges->empty() && read.begin == ranges->back().end) {  // nothing is left out between them
      ranges->back().end = read.end;
    } else {
      ranges->push_back(read);
    }
  }
  return true;
}

// False where it is not of the format.
bool ReadLine(const std::string& line, std::string* key, std::vector<ByteRange>* ranges) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  int64_t length = 0, index = 0, budget = 0;
  if (!json.is_object() || !json.contains("task") || !json["task"].is_string() || !json.contains("ranges"))
    return false;
  if (!ReadNumber(json, "length", &length) || !ReadNumber(json, "index", &index)) return false;
  if (!ReadNumber(json, "budget", &budget)) return false;
  *key = KeyOf(json["task"].get<std::string>(), length, index, budget);
  return ReadRanges(json["ranges"], ranges);
}

}  // namespace

std::string SampleLine(const Sample& sample, const Tokenizer& tokenizer, const RetrievalProfile& profile) {
  const Tokens tokens = tokenizer.Encode(sample.document, SpecialTokens::kPlainText, TextPosition::kContinued);
  std::vector<int64_t> begins =
      SegmentBegins(sample.document, tokens.ends, Segmenter(profile.max_segment, profile.max_indented));
  begins.push_back(static_cast<int64_t>(tokens.ids.size()));
  const auto end_of = [&](int64_t token) { return token == 0 ? 0 : tokens.ends[static_cast<size_t>(token) - 1]; };
  Json segments = Json::array();
  for (size_t i = 0; i + 1 < begins.size(); ++i) {
    segments.push_back({end_of(begins[i]), end_of(begins[i + 1]), begins[i + 1] - begins[i]});
  }
  return DumpLine({{"task", sample.task},
                   {"length", sample.length},
                   {"index", sample.index},
                   {"question", sample.question},
                   {"document", sample.document},
                   {"segments", std::move(segments)}});
}

absl::StatusOr<ChosenRanges> ChosenRanges::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", absl::StrCat("cannot open ", path));
  ChosenRanges chosen;
  chosen.path_ = path;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    std::string key;
    std::vector<ByteRange> ranges;
    if (!ReadLine(line, &key, &ranges)) {
      return errors::InvalidArgument(absl::StrCat(path, ":", number,
                                                  ": not {\"task\": text, \"length\": tokens, \"index\": number, "
                                                  "\"budget\": tokens, \"ranges\": [[byte, byte], ...]}, ascending"));
    }
    if (!chosen.ranges_.emplace(key, std::move(ranges)).second) {
      return errors::InvalidArgument(absl::StrCat(path, ":", number, ": sample and budget stand there twice"));
    }
  }
  return chosen;
}

absl::Status ChosenRanges::Check(const std::string& task, int length, int index, int budget) const {
  if (ranges_.count(KeyOf(task, length, index, budget)) > 0) return absl::OkStatus();
  return MakeError(absl::StatusCode::kNotFound, "NO_RANGES",
                   absl::StrCat(path_, " has no ranges of ", NameOf(task, length, index, budget)));
}

absl::StatusOr<std::vector<ByteRange>> ChosenRanges::Of(const Sample& sample, int budget) const {
  ILRE_RETURN_IF_ERROR(Check(sample.task, sample.length, sample.index, budget));
  const std::vector<ByteRange>& ranges = ranges_.at(KeyOf(sample.task, sample.length, sample.index, budget));
  if (!ranges.empty() && ranges.back().end > sample.document.size()) {
    return errors::InvalidArgument(absl::StrCat(path_, ": ", NameOf(sample.task, sample.length, sample.index, budget),
                                                ": byte ", ranges.back().end, " of a document of ",
                                                sample.document.size()));
  }
  return ranges;
}

}  // namespace ilre::cli
