// RULER's question answering (qa_1, qa_2): the paragraphs that a question needs, among others. Each is a document.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/eval/ruler.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr size_t kSentencesOfProse = 6;  // of a paragraph made where there are not enough others

struct Document {
  static constexpr size_t kProse = SIZE_MAX;
  size_t passage = kProse;  // which one it is
  std::string text;
};

std::string ProsePassage(const Prose& prose, Random* random) {
  const size_t first = random->Below(prose.sentences.size());
  std::vector<std::string> sentences;
  for (size_t i = 0; i < kSentencesOfProse; ++i) {
    sentences.push_back(prose.sentences[(first + i) % prose.sentences.size()]);
  }
  return absl::StrJoin(sentences, " ");
}

// What the question needs and, as far as there is room, other passages and then prose; in any order.
absl::StatusOr<std::vector<Document>> ChooseDocuments(const TaskSources& sources, const Passages& passages,
                                                      const Passages::Question& question, const Sample& sample,
                                                      Random* random) {
  std::vector<size_t> others;
  for (size_t p = 0; p < passages.texts.size(); ++p) {
    if (std::count(question.needed.begin(), question.needed.end(), p) == 0) others.push_back(p);
  }
  random->Shuffle(others);
  int room = RoomForDocument(*sources.tokenizer, sample);
  std::vector<Document> chosen;
  const auto take = [&](Document document) {
    room -= CountTokens(*sources.tokenizer, absl::StrCat("\n\nDocument ", 1000 + chosen.size(), ":\n", document.text));
    if (room >= 0) chosen.push_back(std::move(document));
    return room >= 0;
  };
  for (const size_t p : question.needed) {
    if (take({p, passages.texts[p]})) continue;
    return errors::InvalidArgument(
        absl::StrCat("a length of ", sample.length, " tokens is too short for what a question needs"));
  }
  bool has_room = true;
  for (size_t i = 0; i < others.size() && has_room; ++i) has_room = take({others[i], passages.texts[others[i]]});
  while (has_room) has_room = take({Document::kProse, ProsePassage(*sources.prose, random)});
  random->Shuffle(chosen);
  return chosen;
}

}  // namespace

absl::Status MakeQuestion(const TaskSources& sources, Random* random, Sample* sample) {
  const bool is_drawn = sample->task == "qa_1";  // qa_2 asks one after the other, as RULER does: fewer come twice
  const Passages& passages = is_drawn ? *sources.squad : *sources.hotpot;
  if (passages.questions.empty()) return errors::InvalidArgument("the file of questions has none");
  const size_t next = static_cast<size_t>(sample->index) % passages.questions.size();
  const Passages::Question& question = is_drawn ? random->Pick(passages.questions) : passages.questions[next];
  sample->question = question.question;
  sample->instruction =
      "Answer the question based on the given documents. Only give me the answer and do not output any other words.";
  sample->answer_prefix = " Answer:";
  sample->answers = question.answers;
  sample->matching = Matching::kAny;
  sample->max_answer_tokens = 32;

  ILRE_ASSIGN_OR_RETURN(const std::vector<Document> documents,
                        ChooseDocuments(sources, passages, question, *sample, random));
  for (size_t i = 0; i < documents.size(); ++i) {
    absl::StrAppend(&sample->document, i > 0 ? "\n\n" : "", "Document ", i + 1, ":\n");
    const uint64_t begin = sample->document.size();
    for (const Passages::Part& part : question.gold) {
      if (part.passage != documents[i].passage) continue;
      sample->gold.push_back({begin + part.bytes.begin, begin + part.bytes.end});
    }
    sample->document += documents[i].text;
  }
  return absl::OkStatus();
}

}  // namespace ilre::cli
