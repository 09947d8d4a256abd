// Texts with questions whose answers' places are known: what a probe learns from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ilre::cli {

struct TextQuestion {
  std::string question;
  size_t answer_begin = 0, answer_end = 0;  // bytes of the text that hold the answer
};

struct TrainingText {
  std::string text;
  std::vector<TextQuestion> questions;
};

// An article of a SQuAD-format file: paragraphs with questions.
struct SquadArticle {
  std::string title;
  struct Paragraph {
    std::string context;
    std::vector<TextQuestion> questions;  // places within `context`
  };
  std::vector<Paragraph> paragraphs;
};

// Reads data[].paragraphs[].{context, qas[].{question, answers[].{text, answer_start}}} (Rajpurkar et al., "SQuAD",
// 2016), where answer_start counts characters. Questions without answers are left out. Errors name the file and what is
// wrong.
absl::StatusOr<std::vector<SquadArticle>> ReadSquad(const std::string& path);

// Articles of which the last `holdout` share is kept apart. INVALID_ARGUMENT where that leaves nothing on one of the
// sides.
struct SplitSquad {
  std::vector<SquadArticle> training, held_out;
};
absl::StatusOr<SplitSquad> SplitArticles(const std::vector<SquadArticle>& articles, double holdout);
// Of each file alone, one after the other.
absl::StatusOr<std::vector<SplitSquad>> ReadSplitSquads(const std::vector<std::string>& paths, double holdout);

void AppendArticles(const std::vector<SquadArticle>& articles, std::vector<SquadArticle>* to);

// The paragraphs of some articles as one text, each under a line "Document N:".
TrainingText JoinArticles(const std::vector<SquadArticle>& articles);

// `count` facts of many wordings ("The locker of amber-falcon is 48213.", "SET X = ...") in random order, among
// sentences of `prose` or alone, with questions that name a fact's key. The wordings are not those of the NIAH tasks
// that evaluations use. The same seed gives the same text.
TrainingText MakeNeedles(uint64_t seed, int count, const std::vector<std::string>& prose);

// Sentences of a text: what lies between sentence ends and line ends, of 20 to 400 bytes.
std::vector<std::string> SentencesOf(const std::string& text);

}  // namespace ilre::cli
