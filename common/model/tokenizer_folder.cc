#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/tokenizer_files.h"

namespace ilre {
namespace {

// The largest tokenizer.json in use has 33 MB.
constexpr uint64_t kMaxTokenizerBytes = uint64_t{64} << 20;
constexpr uint64_t kMaxConfigBytes = uint64_t{8} << 20;

// Empty where there is no such file.
absl::StatusOr<std::string> ReadIfThere(const std::string& path, uint64_t max_bytes) {
  absl::StatusOr<std::string> content = ReadFile(path, max_bytes);
  if (absl::IsNotFound(content.status())) return std::string();
  return content;
}

}  // namespace

absl::StatusOr<TokenizerSpec> TokenizerSpecFromFolder(const std::string& folder) {
  const auto path = [&](const char* name) { return absl::StrCat(folder, "/", name); };
  ILRE_ASSIGN_OR_RETURN(const std::string tokenizer, ReadIfThere(path("tokenizer.json"), kMaxTokenizerBytes));
  std::string sentencepiece;
  if (tokenizer.empty()) {
    ILRE_ASSIGN_OR_RETURN(sentencepiece, ReadIfThere(path("tokenizer.model"), kMaxTokenizerBytes));
  }
  if (tokenizer.empty() && sentencepiece.empty()) {
    return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                     absl::StrCat(folder, " has neither tokenizer.json nor tokenizer.model"));
  }
  ILRE_ASSIGN_OR_RETURN(const std::string config, ReadIfThere(path("config.json"), kMaxConfigBytes));
  ILRE_ASSIGN_OR_RETURN(const std::string tokenizer_config,
                        ReadIfThere(path("tokenizer_config.json"), kMaxConfigBytes));
  ILRE_ASSIGN_OR_RETURN(const std::string generation_config,
                        ReadIfThere(path("generation_config.json"), kMaxConfigBytes));
  ILRE_ASSIGN_OR_RETURN(const std::string chat_template, ReadIfThere(path("chat_template.jinja"), kMaxConfigBytes));
  TokenizerJsonFiles files;
  files.tokenizer = tokenizer;
  files.sentencepiece = sentencepiece;
  files.tokenizer_config = tokenizer_config;
  files.generation_config = generation_config;
  files.config = config;
  files.chat_template = chat_template;
  return TokenizerSpecFromJson(folder, files);
}

}  // namespace ilre
