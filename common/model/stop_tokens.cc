#include "common/model/stop_tokens.h"

#include <algorithm>
#include <utility>

namespace ilre {
namespace {

constexpr const char* kEndings[] = {
    "<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>",
    "</s>",          "<|end|>",    "<end_of_turn>",   "<eos>",
};

}  // namespace

void SetStopIds(TokenizerSpec* spec, std::vector<int32_t> more) {
  std::vector<int32_t> ids = std::move(more);
  if (spec->eos_id >= 0) ids.push_back(spec->eos_id);
  for (size_t id = 0; id < std::min(spec->tokens.size(), spec->types.size()); ++id) {
    if (spec->types[id] != TokenType::kControl) continue;
    const auto is_token = [&](const char* ending) { return spec->tokens[id] == ending; };
    if (std::any_of(std::begin(kEndings), std::end(kEndings), is_token)) ids.push_back(static_cast<int32_t>(id));
  }
  const auto is_outside = [&](int32_t id) { return id < 0 || static_cast<size_t>(id) >= spec->tokens.size(); };
  ids.erase(std::remove_if(ids.begin(), ids.end(), is_outside), ids.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  spec->stop_ids = std::move(ids);
}

}  // namespace ilre
