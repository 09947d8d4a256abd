// Texts of a wanted length with questions, for trying a model's heads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/calibrate/training_text.h"
#include "common/model/tokenizer.h"

namespace ilre::cli {

// Generated facts of several kinds (MakeNeedles), in pieces one behind another.
TrainingText NeedleText(const Tokenizer& tokenizer, uint64_t seed, int tokens, int questions,
                        const std::vector<std::string>& prose);

// Paragraphs of articles in random order.
TrainingText QuestionText(const Tokenizer& tokenizer, uint64_t seed, int tokens, int questions,
                          const std::vector<SquadArticle>& articles);

// At most so many tokens of the text, to the end of a line, and at most so many of the questions whose answers are in
// it, drawn by the seed, in the order of their answers.
TrainingText CutText(const Tokenizer& tokenizer, uint64_t seed, int tokens, int questions, const TrainingText& text);

}  // namespace ilre::cli
