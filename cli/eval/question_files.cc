#include "cli/eval/question_files.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
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
constexpr size_t kMaxParts = 1000;  // paragraphs and facts of a HotpotQA entry, which has 10 and a few
constexpr int kAnswerTokens = 32, kHeadingTokens = 8, kFillerTokens = 500;

bool IsText(const Json& object, const char* field) {
  return object.is_object() && object.contains(field) && object[field].is_string();
}

bool IsShortList(const Json& json) { return json.is_array() && json.size() <= kMaxParts; }

// A paragraph of HotpotQA's format.
struct HotpotParagraph {
  std::string title;
  std::string text;
  std::vector<ByteRange> sentences;  // in `text`, without white space around them
};

// False where it is not of the format.
bool ReadHotpotParagraph(const Json& json, HotpotParagraph* paragraph) {
  if (!json.is_array() || json.size() != 2 || !json[0].is_string() || !json[1].is_array()) return false;
  paragraph->title = json[0].get<std::string>();
  paragraph->text = absl::StrCat(paragraph->title, "\n");
  for (const Json& sentence : json[1]) {
    if (!sentence.is_string()) return false;
    const auto text = sentence.get<std::string>();
    const absl::string_view begun = absl::StripLeadingAsciiWhitespace(text);
    const uint64_t begin = paragraph->text.size() + (text.size() - begun.size());
    paragraph->sentences.push_back({begin, begin + absl::StripTrailingAsciiWhitespace(begun).size()});
    paragraph->text += text;
  }
  return true;
}

// The sentence that a supporting fact names, or nothing. `number`: what was negative is beyond the end of any
// paragraph.
absl::optional<Passages::Part> FindFact(const std::string& title, uint64_t number,
                                        const std::vector<HotpotParagraph>& paragraphs,
                                        const std::vector<size_t>& places) {
  for (size_t i = 0; i < paragraphs.size(); ++i) {
    const std::vector<ByteRange>& sentences = paragraphs[i].sentences;
    if (paragraphs[i].title != title) continue;
    if (number >= sentences.size() || sentences[number].begin == sentences[number].end) return absl::nullopt;
    return Passages::Part{places[i], sentences[number]};
  }
  return absl::nullopt;
}

// `places`: of the entry's paragraphs among all passages. False where the facts are not of the format.
bool ReadSupportingFacts(const Json& entry, const std::vector<HotpotParagraph>& paragraphs,
                         const std::vector<size_t>& places, std::vector<Passages::Part>* gold) {
  if (!entry.contains("supporting_facts")) return true;
  const Json& facts = entry["supporting_facts"];
  if (!IsShortList(facts)) return false;
  bool all_found = true;
  for (const Json& fact : facts) {
    if (!fact.is_array() || fact.size() != 2 || !fact[0].is_string() || !fact[1].is_number_integer()) return false;
    const auto part = FindFact(fact[0].get<std::string>(), fact[1].get<uint64_t>(), paragraphs, places);
    all_found = all_found && part.has_value();
    if (part.has_value() && std::count(gold->begin(), gold->end(), *part) == 0) gold->push_back(*part);
  }
  if (!all_found) gold->clear();
  return true;
}

// Reads entries of HotpotQA's format into one set of passages.
class HotpotReader {
 public:
  // -> the field that is not of the format, or null.
  const char* Read(const Json& entry) {
    if (!IsText(entry, "question")) return "question";
    if (!IsText(entry, "answer") || entry["answer"] == "") return "answer";
    if (!entry.contains("context") || !IsShortList(entry["context"]) || entry["context"].empty()) return "context";
    Passages::Question question{entry["question"].get<std::string>(), {entry["answer"].get<std::string>()}, {}, {}};
    std::vector<HotpotParagraph> paragraphs;
    std::vector<size_t> places;
    for (const Json& json : entry["context"]) {
      if (!ReadHotpotParagraph(json, &paragraphs.emplace_back())) return "context";
      places.push_back(PlaceOf(paragraphs.back().text));
    }
    if (!ReadSupportingFacts(entry, paragraphs, places, &question.gold)) return "supporting_facts";
    for (const size_t place : places) {
      if (std::count(question.needed.begin(), question.needed.end(), place) == 0) question.needed.push_back(place);
    }
    passages_.questions.push_back(std::move(question));
    return nullptr;
  }

  Passages Take() { return std::move(passages_); }

 private:
  size_t PlaceOf(const std::string& text) {
    const auto [at, is_new] = places_.try_emplace(text, passages_.texts.size());
    if (is_new) passages_.texts.push_back(text);
    return at->second;
  }

  Passages passages_;
  std::unordered_map<std::string, size_t> places_;  // of texts
};

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
std::vector<std::string> ProsePassages(const Prose& prose) {
  std::vector<std::string> passages;
  int tokens = kFillerTokens;
  for (size_t i = 0; i < prose.sentences.size(); ++i) {
    if (tokens >= kFillerTokens) {
      passages.emplace_back();
      tokens = 0;
    }
    std::string& text = passages.back();
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

absl::StatusOr<Passages> ReadSquadPassages(const std::string& path, double held_out) {
  ILRE_ASSIGN_OR_RETURN(const std::vector<SquadArticle> articles, ReadSquad(path));
  const auto cut = static_cast<size_t>(std::floor(static_cast<double>(articles.size()) * (1 - held_out)));
  Passages passages;
  for (size_t i = 0; i < articles.size(); ++i) {
    for (const SquadArticle::Paragraph& paragraph : articles[i].paragraphs) {
      const size_t place = passages.texts.size();
      passages.texts.push_back(paragraph.context);
      if (i < cut) continue;
      for (const TextQuestion& asked : paragraph.questions) {
        const ByteRange answer = {asked.answer_begin, asked.answer_end};
        Passages::Question& question = passages.questions.emplace_back();
        question = {asked.question, {paragraph.context.substr(answer.begin, answer.end - answer.begin)}, {place}, {}};
        if (answer.end > answer.begin) question.gold.push_back({place, answer});
      }
    }
  }
  return passages;
}

absl::StatusOr<Passages> ReadHotpotPassages(const std::string& path) {
  ILRE_ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxFileBytes));
  const Json json = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array() || json.empty()) {
    return errors::InvalidArgument(absl::StrCat(path, " is not a HotpotQA-format file: no list"));
  }
  HotpotReader reader;
  for (size_t i = 0; i < json.size(); ++i) {
    if (const char* field = reader.Read(json[i])) {
      return errors::InvalidArgument(
          absl::StrCat(path, " is not a HotpotQA-format file: entry ", i + 1, " has a wrong form: ", field));
    }
  }
  return reader.Take();
}

QuestionSet SquadQuestions(const Tokenizer& tokenizer, const Passages& passages, const Prose* prose, int max_tokens,
                           uint64_t seed) {
  struct Paragraph {
    const std::string* text;
    std::vector<const Passages::Question*> questions;
  };
  Random random(seed);
  std::vector<Paragraph> order;
  for (const std::string& text : passages.texts) order.push_back({&text, {}});
  for (const Passages::Question& question : passages.questions)
    order[question.needed[0]].questions.push_back(&question);
  random.Shuffle(order);
  std::stable_partition(order.begin(), order.end(), [](const Paragraph& p) { return !p.questions.empty(); });
  std::vector<Paragraph> chosen;
  int tokens = 0;
  const auto take = [&](const Paragraph& paragraph) {
    tokens += CountTokens(tokenizer, *paragraph.text) + kHeadingTokens;
    if (paragraph.questions.empty() && tokens > max_tokens) return false;
    chosen.push_back(paragraph);
    return true;
  };
  bool has_room = true;
  for (size_t i = 0; i < order.size() && has_room; ++i) has_room = take(order[i]);
  std::vector<std::string> fillers;
  if (has_room && prose != nullptr) fillers = ProsePassages(*prose);
  random.Shuffle(fillers);
  for (size_t i = 0; i < fillers.size() && has_room; ++i) has_room = take({&fillers[i], {}});
  random.Shuffle(chosen);
  QuestionSet set;
  for (size_t i = 0; i < chosen.size(); ++i) {
    absl::StrAppend(&set.document, "Document ", i + 1, ":\n");
    const uint64_t begin = set.document.size();
    for (const Passages::Question* question : chosen[i].questions) {
      if (question->gold.empty()) continue;
      Sample& sample = set.samples.emplace_back();
      AskPlainly("squad", static_cast<int>(set.samples.size()) - 1, &sample);
      sample.length = max_tokens;
      sample.question = question->question;
      sample.answers = question->answers;
      for (const Passages::Part& part : question->gold) {
        sample.gold.push_back({begin + part.bytes.begin, begin + part.bytes.end});
      }
    }
    absl::StrAppend(&set.document, *chosen[i].text, "\n\n");
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
