#include "cli/calibrate/teacher.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/content_digest.h"
#include "cli/json_output.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/model/dequantize.h"
#include "common/model/safetensors_file.h"

namespace ilre::cli {
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;
constexpr int64_t kMaxDim = 1 << 14;

absl::StatusOr<std::vector<std::string>> TextsOf(const std::string& path, const Json& json, const char* field) {
  const auto bad = [&](const std::string& what) {
    return errors::InvalidArgument(absl::StrCat(path, " is not a teacher's: ", what));
  };
  if (!json.is_object() || !json.contains(field) || !json[field].is_array()) {
    return bad(absl::StrCat("no list `", field, "`"));
  }
  std::vector<std::string> texts;
  for (const Json& text : json[field]) {
    if (!text.is_string()) return bad(absl::StrCat("`", field, "` has something that is no text"));
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

}  // namespace

absl::StatusOr<Teacher> Teacher::Read(const std::string& folder) {
  Teacher teacher;
  const std::string path = absl::StrCat(folder, "/texts.json"), vectors_path = folder + "/vectors.safetensors";
  ILRE_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxTextBytes));
  const Json json = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  ILRE_ASSIGN_OR_RETURN(const std::vector<std::string> documents, TextsOf(path, json, "documents"));
  ILRE_ASSIGN_OR_RETURN(const std::vector<std::string> questions, TextsOf(path, json, "questions"));
  ILRE_ASSIGN_OR_RETURN(const std::vector<std::string> sentences, TextsOf(path, json, "sentences"));
  for (const std::string& document : documents) teacher.texts_.push_back({document, {}});
  if (!questions.empty()) teacher.texts_.emplace_back();
  for (const std::string& question : questions) teacher.texts_.back().questions.push_back({question, 0, 0});
  for (const std::string& sentence : sentences) {
    teacher.rows_.emplace(absl::StripAsciiWhitespace(sentence), static_cast<int64_t>(teacher.rows_.size()));
  }
  if (teacher.rows_.size() != sentences.size()) {
    return errors::InvalidArgument(absl::StrCat(path, ": a sentence occurs twice"));
  }

  const auto bad = [&](const std::string& what) {
    return errors::InvalidArgument(absl::StrCat(vectors_path, " is not a teacher's: ", what));
  };
  ILRE_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(vectors_path));
  const SafetensorsTensor* const tensor = file->FindTensor("vectors");
  if (tensor == nullptr) return bad("no tensor `vectors`");
  const auto type = ReadableType(tensor->dtype);
  if (!type.has_value()) return bad(absl::StrCat("`vectors` is of type ", tensor->dtype));
  if (tensor->shape.size() != 2 || tensor->shape[0] != static_cast<int64_t>(sentences.size()) || tensor->shape[1] < 1 ||
      tensor->shape[1] > kMaxDim) {
    return bad(absl::StrCat("`vectors` has not a row for each of ", sentences.size(), " sentences"));
  }
  teacher.dim_ = tensor->shape[1];
  teacher.vectors_.resize(static_cast<size_t>(tensor->shape[0] * tensor->shape[1]));
  Dequantize(*type, tensor->bytes, absl::MakeSpan(teacher.vectors_));
  if (!std::all_of(teacher.vectors_.begin(), teacher.vectors_.end(), [](float x) { return std::isfinite(x); })) {
    return bad("`vectors` has numbers that are not finite");
  }
  teacher.digest_ = absl::StrCat(ContentDigest(content), ContentDigest(tensor->bytes));
  return teacher;
}

TaughtPool Teacher::Teach(const TrainingPool& pool) const {
  TaughtPool taught{
      .pool = &pool, .dim = dim_, .segments = {}, .segment_vectors = {}, .questions = {}, .question_vectors = {}};
  const auto look_up = [&](const std::vector<std::string>& texts, std::vector<int64_t>* which,
                           std::vector<float>* vectors) {
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto row = rows_.find(texts[i]);
      if (row == rows_.end()) continue;
      which->push_back(static_cast<int64_t>(i));
      const auto first = vectors_.begin() + row->second * dim_;
      vectors->insert(vectors->end(), first, first + dim_);
    }
  };
  look_up(pool.segment_texts, &taught.segments, &taught.segment_vectors);
  look_up(pool.question_texts, &taught.questions, &taught.question_vectors);
  return taught;
}

}  // namespace ilre::cli
