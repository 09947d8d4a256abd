// A tokenizer for tests: one token a byte, and control tokens behind them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/model/byte_alphabet.h"
#include "common/model/tokenizer.h"

namespace ilre {

// Ids 0 to 255 are the bytes; controls[i] has id 256 + i. The last control token ends an answer.
inline std::unique_ptr<Tokenizer> MakeByteTokenizer(const std::vector<std::string>& controls,
                                                    const std::string& chat_template = "") {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) spec.tokens.push_back(ByteSpelling(static_cast<uint8_t>(byte)));
  spec.types.assign(256, TokenType::kNormal);
  for (const std::string& control : controls) {
    spec.tokens.push_back(control);
    spec.types.push_back(TokenType::kControl);
  }
  if (!controls.empty()) {
    spec.eos_id = static_cast<int32_t>(spec.tokens.size()) - 1;
    spec.stop_ids = {spec.eos_id};
  }
  spec.chat_template = chat_template;
  auto tokenizer = Tokenizer::Create(std::move(spec));
  ILRE_CHECK(tokenizer.ok());
  return *std::move(tokenizer);
}

}  // namespace ilre
