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
  // Where it is from: named in the prompt before the first of consecutive pieces from one document. Empty: not named.
  std::string document;
};

// What the model is told if nobody says otherwise.
inline constexpr char kDefaultInstruction[] = "Answer the question from the text above.";

struct PromptParts {
  std::vector<ContextPiece> context;
  std::string gap_mark = "\n";  // put where something was left out
  std::string question;
  std::string instruction;    // after the question; may be empty
  std::string answer_prefix;  // how the answer begins; the model goes on from there
};

// The user's turn is "Text:", the context, "Question:" and the question, the instruction: of several orders and
// wordings this one gave the most right answers with the default model (docs/quality.md). Without context it is
// question and instruction alone.
//
// Text from outside is tokenized as plain text: it cannot open or close a turn.
std::vector<TokenId> BuildPrompt(const Tokenizer& tokenizer, const ChatTemplate& chat, const PromptParts& parts);

}  // namespace ilre
