#include "cli/calibrate/base_profile.h"

#include <algorithm>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/calibrate/neutral_passage.h"

namespace ilre::cli {
namespace {

constexpr int64_t kMostLocalWindow = 4096;  // tokens; larger ones take too much memory for each document

// The opening of the user's turn, as text that parses to the same tokens.
std::string PrefixText(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  std::string prefix;
  for (const TokenId id : chat.head) {
    absl::StrAppend(
        &prefix, tokenizer.IsControl(id) ? absl::string_view(tokenizer.spec().tokens[id]) : tokenizer.TokenBytes(id));
  }
  if (!prefix.empty()) return prefix;
  const int32_t bos = tokenizer.spec().bos_id;  // a base model: streams still need a sink
  return bos >= 0 ? tokenizer.spec().tokens[bos] : "\n";
}

}  // namespace

void SetWeights(const CalibrateArguments& arguments, bool pooled, RetrievalProfile* profile) {
  for (RetrievalHead& head : profile->heads) {
    if (head.kind == RetrievalHead::Kind::kProbe) head.weight = arguments.probe_weight;
  }
  profile->lexical.weight = arguments.lexical_weight.value_or(pooled ? 6 : 0.7f);
  profile->lexical.power = arguments.lexical_power.value_or(pooled ? 3 : 1);
  profile->neighbour_weight = arguments.neighbour_weight.value_or(pooled ? 0.4f : 0.3f);
  profile->prompt_floor = 0.7f;
  profile->prompt_word_floor = pooled ? 0.5f : 0.0f;
}

RetrievalProfile BaseProfile(const Checkpoint& checkpoint, const Tokenizer& tokenizer, const ChatTemplate& chat,
                             const CalibrateArguments& arguments, int depth) {
  RetrievalProfile profile;
  profile.name = arguments.name.empty() ? std::filesystem::path(arguments.output).stem().string() : arguments.name;
  profile.model = checkpoint.fingerprint();
  profile.prefix = PrefixText(tokenizer, chat);
  // Where the model's own layers look no further than a window, so does the stream: it then misses nothing.
  const ModelConfig& config = checkpoint.config();
  if (config.AllLocalBelow(depth)) {
    profile.window = static_cast<int>(std::min(config.local_window, kMostLocalWindow));
  }
  profile.neutral_passage = kNeutralPassage;
  profile.question_prefix = "\n\n";
  SetWeights(arguments, /*pooled=*/false, &profile);
  profile.second_look.max_looks = arguments.max_looks;
  profile.min_prompt = 32;
  profile.max_indented = 48;
  return profile;
}

}  // namespace ilre::cli
