#include "cli/eval/ruler.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr int kTemplateTokens = 40;  // "Text:", "Question:" and the turns

// FNV-1a: a seed of its own for each sample.
uint64_t Hash(absl::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

const std::vector<std::string>& RulerTasks() {
  static const auto* const tasks = new std::vector<std::string>{"niah_single_1",
                                                                "niah_single_2",
                                                                "niah_single_3",
                                                                "niah_multikey_1",
                                                                "niah_multikey_2",
                                                                "niah_multikey_3",
                                                                "niah_multivalue",
                                                                "niah_multiquery",
                                                                "vt",
                                                                "cwe",
                                                                "fwe",
                                                                "qa_1",
                                                                "qa_2"};
  return *tasks;
}

bool CanMake(const TaskSources& sources, const std::string& task) {
  if (task == "qa_1") return sources.squad != nullptr;
  if (task == "qa_2") return sources.hotpot != nullptr;
  return std::find(RulerTasks().begin(), RulerTasks().end(), task) != RulerTasks().end();
}

int CountTokens(const Tokenizer& tokenizer, const std::string& text) {
  return static_cast<int>(tokenizer.EncodeIds(text).size());
}

int RoomForDocument(const Tokenizer& tokenizer, const Sample& sample) {
  const int others = CountTokens(tokenizer, sample.preamble) + CountTokens(tokenizer, sample.question) +
                     CountTokens(tokenizer, sample.instruction) + CountTokens(tokenizer, sample.answer_prefix);
  return sample.length - sample.max_answer_tokens - others - kTemplateTokens;
}

ByteRange Find(const std::string& document, const std::string& part) {
  const size_t begin = document.find(part);
  ILRE_CHECK(begin != std::string::npos);
  return {begin, begin + part.size()};
}

absl::StatusOr<Sample> MakeRulerSample(const TaskSources& sources, const std::string& task, int length, int index,
                                       uint64_t seed) {
  if (std::find(RulerTasks().begin(), RulerTasks().end(), task) == RulerTasks().end()) {
    return errors::InvalidArgument(absl::StrCat("no task ", task));
  }
  if (!CanMake(sources, task)) {
    return errors::InvalidArgument(absl::StrCat("task ", task, " needs a file of questions: --squad or --hotpot"));
  }
  if (length < kLeastRulerTokens || length > kMostRulerTokens) {
    return errors::InvalidArgument(
        absl::StrCat("a length of ", length, " tokens is not in ", kLeastRulerTokens, " to ", kMostRulerTokens));
  }
  Sample sample;
  sample.task = task;
  sample.length = length;
  sample.index = index;
  Random random(Hash(absl::StrCat(seed, "/", task, "/", length, "/", index)));
  if (absl::StartsWith(task, "niah")) {
    ILRE_RETURN_IF_ERROR(MakeNeedles(sources, &random, &sample));
  } else if (task == "vt") {
    ILRE_RETURN_IF_ERROR(MakeChain(sources, &random, &sample));
  } else if (task == "cwe") {
    ILRE_RETURN_IF_ERROR(MakeCommonWords(sources, &random, &sample));
  } else if (task == "fwe") {
    ILRE_RETURN_IF_ERROR(MakeFrequentWords(sources, &random, &sample));
  } else {
    ILRE_RETURN_IF_ERROR(MakeQuestion(sources, &random, &sample));
  }
  return sample;
}

}  // namespace ilre::cli
