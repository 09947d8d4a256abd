// RULER's question answering (qa_1, qa_2): the paragraphs that answer a question among others.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/eval/ruler.h"
#include "common/base/errors.h"

namespace ilre::cli {
namespace {

constexpr size_t kSentencesOfProse = 6;  // of a paragraph made where there are not enough others

std::string ProsePassage(const Prose& prose, Random* random) {
  const size_t first = random->Below(prose.sentences.size());
  std::vector<std::string> sentences;
  for (size_t i = 0; i < kSentencesOfProse; ++i) {
    sentences.push_back(prose.sentences[(first + i) % prose.sentences.size()]);
  }
  return absl::StrJoin(sentences, " ");
}

}  // namespace

absl::Status MakeQuestion(const TaskSources& sources, Random* random, Sample* sample) {
  const std::vector<Passage>& passages = sample->task == "qa_1" ? *sources.squad : *sources.hotpot;
  std::vector<std::pair<size_t, size_t>> questions;  // passage, question
  for (size_t p = 0; p < passages.size(); ++p) {
    for (size_t q = 0; q < passages[p].questions.size(); ++q) questions.push_back({p, q});
  }
  if (questions.empty()) return errors::InvalidArgument("the file of questions has none");
  const auto [gold, number] = questions[random->Below(questions.size())];
  const Passage::Question& question = passages[gold].questions[number];
  sample->question = question.question;
  sample->instruction =
      "Answer the question based on the given documents. Only give me the answer and do not output any other words.";
  sample->answer_prefix = " Answer:";
  sample->answers = question.answers;
  sample->matching = Matching::kAny;
  sample->max_answer_tokens = 32;

  int room = RoomForDocument(*sources.tokenizer, *sample);
  std::vector<size_t> others;
  for (size_t p = 0; p < passages.size(); ++p) {
    if (p != gold) others.push_back(p);
  }
  random->Shuffle(others);
  std::vector<std::string> chosen;
  const auto take = [&](std::string text) {
    room -= CountTokens(*sources.tokenizer, absl::StrCat("\n\nDocument ", 1000 + chosen.size(), ":\n", text));
    if (room >= 0) chosen.push_back(std::move(text));
    return room >= 0;
  };
  const std::string& gold_text = passages[gold].text;
  if (!take(gold_text)) {
    return errors::InvalidArgument(
        absl::StrCat("a length of ", sample->length, " tokens is too short for its paragraph"));
  }
  for (size_t i = 0; take(i < others.size() ? passages[others[i]].text : ProsePassage(*sources.prose, random));) ++i;
  random->Shuffle(chosen);
  for (size_t i = 0; i < chosen.size(); ++i) {
    absl::StrAppend(&sample->document, i > 0 ? "\n\n" : "", "Document ", i + 1, ":\n");
    const uint64_t begin = sample->document.size();
    if (chosen[i] == gold_text && question.answer.end > question.answer.begin && sample->gold.empty()) {
      sample->gold.push_back({begin + question.answer.begin, begin + question.answer.end});
    }
    sample->document += chosen[i];
  }
  return absl::OkStatus();
}

}  // namespace ilre::cli
