// The prompt that an answer is generated from: instruction, recalled text, question, in the model's chat frame.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/model/chat_template.h"
#include "common/model/tokenizer.h"

namespace ilre {

// A piece of recalled text. `ids`, if not empty, are its tokens as they stand in the document; else `text` is
// tokenized.
struct ContextPiece {
  absl::string_view text;
  absl::Span<const TokenId> ids;
  // Whether something was left out between this piece and the one before.
  bool after_gap = false;
};

// What the model is told if nobody says otherwise.
inline constexpr char kDefaultQuestionLabel[] = "Question: ";
inline constexpr char kDefaultGapMark[] = "\n";
inline constexpr char kDefaultInstruction[] = "Answer the question with the help of these excerpts.";

struct PromptParts {
  std::string instruction;  // before the text; may be empty
  std::vector<ContextPiece> context;
  std::string gap_mark;        // put where something was left out, for example "\n"
  std::string question_label;  // before the question, for example "Question: "
  std::string question;
  std::string answer_prefix;  // how the answer begins; the model goes on from there
};

// Text from outside is tokenized as plain text: it cannot open or close a turn.
std::vector<TokenId> BuildPrompt(const Tokenizer& tokenizer, const ChatTemplate& chat, const PromptParts& parts);

}  // namespace ilre
