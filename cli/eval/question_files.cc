#include "cli/eval/question_files.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/training_text.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "generator_service/prompt.h"
#include "nlohmann/json.hpp"

namespace ilre::cli {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;
constexpr int kAnswerTokens = 32, kHeadingTokens = 8, kFillerTokens = 500;

bool IsText(const Json& object, const char* field) {
  return object.is_object() && object.contains(field) && object[field].is_string();
}

// False where it is not of the format.
bool ReadHotpotEntry(const Json& entry, Passage* passage) {
  if (!IsText(entry, "question") || !IsText(entry, "answer")) return false;
  if (!entry.contains("context") || !entry["context"].is_array()) return false;
  for (const Json& paragraph : entry["context"]) {
    if (!paragraph.is_array() || paragraph.size() != 2 || !paragraph[0].is_string() || !paragraph[1].is_array()) {
      return false;
    }
    absl::StrAppend(&passage->text, passage->text.empty() ? "" : "\n", paragraph[0].get<std::string>(), "\n");
    for (const Json& sentence : paragraph[1]) {
      if (!sentence.is_string()) return false;
      absl::StrAppend(&passage->text, sentence.get<std::string>());
    }
  }
  passage->questions.push_back({entry["question"].get<std::string>(), {entry["answer"].get<std::string>()}, {}});
  return true;
}

// False where it is not of the format.
bool ReadUserLine(const std::string& line, Sample* sample) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!IsText(json, "document") || !IsText(json, "question") || !json.contains("answers")) return false;
  if (!json["answers"].is_array() || json["answers"].empty()) return false;
  sample->document = json["document"].get<std::string>();
  sample->question = json["question"].get<std::string>();
  for (const Json& answer : json["answers"]) {
    if (!answer.is_string() || answer.get<std::string>().empty()) return false;
    sample->answers.push_back(answer.get<std::string>());
  }
  return !sample->document.empty() && !sample->question.empty();
}

// All of the prose, in pieces of whole sentences.
std::vector<Passage> ProsePassages(const Prose& prose) {
  std::vector<Passage> passages;
  int tokens = kFillerTokens;
  for (size_t i = 0; i < prose.sentences.size(); ++i) {
    if (tokens >= kFillerTokens) {
      passages.emplace_back();
      tokens = 0;
    }
    std::string& text = passages.back().text;
    absl::StrAppend(&text, text.empty() ? "" : " ", prose.sentences[i]);
    tokens += prose.tokens[i];
  }
  return passages;
}

void AskPlainly(const char* task, int index, Sample* sample) {
  sample->task = task;
  sample->index = index;
  sample->instruction = kDefaultInstruction;
  sample->matching = Matching::kAny;
  sample->max_answer_tokens = kAnswerTokens;
}

}  // namespace

absl::StatusOr<std::vector<Passage>> ReadSquadPassages(const std::string& path, double held_out) {
  ILRE_ASSIGN_OR_RETURN(const std::vector<SquadArticle> articles, ReadSquad(path));
  const auto cut = static_cast<size_t>(std::floor(static_cast<double>(articles.size()) * (1 - held_out)));
  std::vector<Passage> passages;
  for (size_t i = 0; i < articles.size(); ++i) {
    for (const SquadArticle::Paragraph& paragraph : articles[i].paragraphs) {
      Passage& passage = passages.emplace_back();
      passage.text = paragraph.context;
      if (i < cut) continue;
      for (const TextQuestion& question : paragraph.questions) {
        const ByteRange answer = {question.answer_begin, question.answer_end};
        passage.questions.push_back(
            {question.question, {passage.text.substr(answer.begin, answer.end - answer.begin)}, answer});
      }
    }
  }
  return passages;
}

absl::StatusOr<std::vector<Passage>> ReadHotpotPassages(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxFileBytes));
  const Json json = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array() || json.empty()) {
    return errors::InvalidArgument(absl::StrCat(path, " is not a HotpotQA-format file: no list"));
  }
  std::vector<Passage> passages;
  for (const Json& entry : json) {
    if (!ReadHotpotEntry(entry, &passages.emplace_back())) {
      return errors::InvalidArgument(
          absl::StrCat(path, " is not a HotpotQA-format file: entry ", passages.size(), " has a wrong form"));
    }
  }
  return passages;
}

QuestionSet SquadQuestions(const Tokenizer& tokenizer, const std::vector<Passage>& passages, const Prose* prose,
                           int max_tokens, uint64_t seed) {
  Random random(seed);
  std::vector<const Passage*> order;
  for (const Passage& passage : passages) order.push_back(&passage);
  random.Shuffle(order);
  std::stable_partition(order.begin(), order.end(), [](const Passage* p) { return !p->questions.empty(); });
  std::vector<const Passage*> chosen;
  int tokens = 0;
  const auto take = [&](const Passage& passage) {
    tokens += CountTokens(tokenizer, passage.text) + kHeadingTokens;
    if (passage.questions.empty() && tokens > max_tokens) return false;
    chosen.push_back(&passage);
    return true;
  };
  bool has_room = true;
  for (size_t i = 0; i < order.size() && has_room; ++i) has_room = take(*order[i]);
  std::vector<Passage> fillers;
  if (has_room && prose != nullptr) fillers = ProsePassages(*prose);
  random.Shuffle(fillers);
  for (size_t i = 0; i < fillers.size() && has_room; ++i) has_room = take(fillers[i]);
  random.Shuffle(chosen);
  QuestionSet set;
  for (size_t i = 0; i < chosen.size(); ++i) {
    absl::StrAppend(&set.document, "Document ", i + 1, ":\n");
    const uint64_t begin = set.document.size();
    for (const Passage::Question& question : chosen[i]->questions) {
      if (question.answer.end == question.answer.begin) continue;
      Sample& sample = set.samples.emplace_back();
      AskPlainly("squad", static_cast<int>(set.samples.size()) - 1, &sample);
      sample.length = max_tokens;
      sample.question = question.question;
      sample.answers = question.answers;
      sample.gold = {{begin + question.answer.begin, begin + question.answer.end}};
    }
    absl::StrAppend(&set.document, chosen[i]->text, "\n\n");
    set.ends.push_back(set.document.size());
  }
  return set;
}

absl::StatusOr<std::vector<Sample>> ReadUserSamples(const std::string& path) {
  std::ifstream file(path);
  if (!file) return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", absl::StrCat("cannot open ", path));
  std::vector<Sample> samples;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    Sample& sample = samples.emplace_back();
    if (!ReadUserLine(line, &sample)) {
      return errors::InvalidArgument(
          absl::StrCat(path, ":", number, ": not {\"document\": text, \"question\": text, \"answers\": [text, ...]}"));
    }
    AskPlainly("questions", static_cast<int>(samples.size()) - 1, &sample);
    const size_t at = sample.document.find(sample.answers[0]);
    if (at != std::string::npos && sample.document.find(sample.answers[0], at + 1) == std::string::npos) {
      sample.gold = {{at, at + sample.answers[0].size()}};
    }
  }
  if (samples.empty()) return errors::InvalidArgument(absl::StrCat(path, " has no questions"));
  return samples;
}

}  // namespace ilre::cli
