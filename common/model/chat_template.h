// The frame that a chat model expects around a question, by family.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/tokenizer.h"

namespace ilre {

// Token ids before and after the user's words. Text between them is encoded as plain text, so that no document or
// question can forge a turn. Prompt: head + user's text + tail + the answer as far as it is given.
struct ChatTemplate {
  // "chatml" (SmolLM2, Qwen), "llama3", "gemma", "llama2" / "mistral" ([INST]), "zephyr", "plain" (no template: base
  // models).
  std::string family;
  std::vector<TokenId> head;  // begin token where the model wants one, and the opening of the user's turn
  std::vector<TokenId> tail;  // end of the user's turn and opening of the assistant's
  // How the user's text is to be encoded between them.
  TextPosition user_position = TextPosition::kStart;
};

// Recognises the family from the spec's Jinja template (not from the vocabulary's size). `system` is put into the
// system turn; empty gives no system turn at all, even where the model's own template would add a default one.
// Errors: UNKNOWN_CHAT_TEMPLATE; BAD_CHAT_TEMPLATE where the vocabulary lacks a control token of the family.
absl::StatusOr<ChatTemplate> MakeChatTemplate(const Tokenizer& tokenizer, absl::string_view system = "");

}  // namespace ilre
