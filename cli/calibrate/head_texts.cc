#include "cli/calibrate/head_texts.h"

#include <algorithm>

#include "common/base/random.h"

namespace ilre::cli {
namespace {

constexpr int kFactsOfPiece = 24;

}  // namespace

TrainingText CutText(const Tokenizer& tokenizer, uint64_t seed, int tokens, int questions, const TrainingText& text) {
  const Tokens all = tokenizer.Encode(text.text);
  size_t end = text.text.size();
  if (all.ids.size() > static_cast<size_t>(tokens)) {
    end = all.ends[static_cast<size_t>(tokens) - 1];
    const size_t line = text.text.rfind('\n', end - 1);
    if (line != std::string::npos) end = line + 1;
  }
  TrainingText cut{.text = text.text.substr(0, end), .questions = {}};
  for (const TextQuestion& question : text.questions) {
    if (question.answer_end <= end) cut.questions.push_back(question);
  }
  Random random(seed);
  random.Shuffle(cut.questions);
  cut.questions.resize(std::min(cut.questions.size(), static_cast<size_t>(questions)));
  std::stable_sort(cut.questions.begin(), cut.questions.end(),
                   [](const TextQuestion& a, const TextQuestion& b) { return a.answer_begin < b.answer_begin; });
  return cut;
}

TrainingText NeedleText(const Tokenizer& tokenizer, uint64_t seed, int tokens, int questions,
                        const std::vector<std::string>& prose) {
  Random random(seed);
  TrainingText text;
  for (size_t have = 0; have < static_cast<size_t>(tokens);) {
    const TrainingText piece = MakeNeedles(random.Next(), kFactsOfPiece, prose);
    have += tokenizer.Encode(piece.text).ids.size();
    for (TextQuestion question : piece.questions) {
      question.answer_begin += text.text.size();
      question.answer_end += text.text.size();
      text.questions.push_back(std::move(question));
    }
    text.text += piece.text;
  }
  return CutText(tokenizer, random.Next(), tokens, questions, text);
}

TrainingText QuestionText(const Tokenizer& tokenizer, uint64_t seed, int tokens, int questions,
                          const std::vector<SquadArticle>& articles) {
  Random random(seed);
  std::vector<SquadArticle> shuffled;
  for (const SquadArticle& article : articles) {
    for (const SquadArticle::Paragraph& paragraph : article.paragraphs)
      shuffled.push_back({article.title, {paragraph}});
  }
  random.Shuffle(shuffled);
  return CutText(tokenizer, random.Next(), tokens, questions, JoinArticles(shuffled));
}

}  // namespace ilre::cli
