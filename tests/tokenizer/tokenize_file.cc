// Token ids of a file, for comparison with other programs and for measuring.
//
//   tokenize_file MODEL FILE [--parse] [--pieces=BYTES] [--ends] > ids         (int32, little-endian)
//   tokenize_file MODEL FILE --bench=SECONDS                                   (one line of JSON)
//
// MODEL is a .gguf file or a Hugging Face folder. With --parse control tokens in the text are understood. With --pieces
// the text is given in pieces of that size and cut by SafePrefix, as in a stream. With --ends the byte offset behind
// each token is written after all ids.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/model/tokenizer.h"
#include "common/model/tokenizer_files.h"

namespace ilre {
namespace {

struct Options {
  std::string model, file;
  SpecialTokens special = SpecialTokens::kPlainText;
  bool ends = false;
  size_t piece_bytes = 0;  // 0: the whole text at once
  double bench_seconds = 0;
};

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path) {
  if (!absl::EndsWith(path, ".gguf")) {
    ILRE_ASSIGN_OR_RETURN(TokenizerSpec spec, TokenizerSpecFromFolder(path));
    return Tokenizer::Create(std::move(spec));
  }
  ILRE_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  ILRE_ASSIGN_OR_RETURN(TokenizerSpec spec, TokenizerSpecFromGguf(*file));
  return Tokenizer::Create(std::move(spec));
}

// As a stream of pieces is encoded: what SafePrefix allows as soon as it does, the rest at the end.
Tokens EncodePieces(const Tokenizer& tokenizer, absl::string_view text, const Options& options) {
  Tokens all;
  size_t done = 0;
  TextPosition position = TextPosition::kStart;
  const auto encode = [&](size_t size) {
    const Tokens tokens = tokenizer.Encode(text.substr(done, size), options.special, position);
    all.ids.insert(all.ids.end(), tokens.ids.begin(), tokens.ids.end());
    for (uint32_t end : tokens.ends) all.ends.push_back(static_cast<uint32_t>(done + end));
    done += size;
    position = TextPosition::kContinued;
  };
  for (size_t seen = 0; seen < text.size();) {
    seen = std::min(text.size(), seen + options.piece_bytes);
    while (const size_t safe = tokenizer.SafePrefix(text.substr(done, seen - done))) encode(safe);
  }
  if (done < text.size()) encode(text.size() - done);
  return all;
}

Tokens EncodeAll(const Tokenizer& tokenizer, absl::string_view text, const Options& options) {
  if (options.piece_bytes > 0) return EncodePieces(tokenizer, text, options);
  return tokenizer.Encode(text, options.special);
}

// Speeds of the best run: by the clock, and by the processor time of this one thread, which other programs disturb
// less.
void Bench(const Tokenizer& tokenizer, absl::string_view text, const Options& options, double load_seconds) {
  double best = 1e9, best_cpu = 1e9;
  size_t num_tokens = 0;
  const double end = Seconds(CLOCK_MONOTONIC) + options.bench_seconds;
  do {
    const double begin = Seconds(CLOCK_MONOTONIC), begin_cpu = Seconds(CLOCK_THREAD_CPUTIME_ID);
    num_tokens = EncodeAll(tokenizer, text, options).ids.size();
    best = std::min(best, Seconds(CLOCK_MONOTONIC) - begin);
    best_cpu = std::min(best_cpu, Seconds(CLOCK_THREAD_CPUTIME_ID) - begin_cpu);
  } while (Seconds(CLOCK_MONOTONIC) < end);
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  absl::PrintF("{\"bytes\": %d, \"tokens\": %d, \"mb_per_s\": %.1f, \"mb_per_cpu_s\": %.1f, \"load_cpu_ms\": %.0f}\n",
               text.size(), num_tokens, megabytes / best, megabytes / best_cpu, load_seconds * 1e3);
}

absl::Status Run(const Options& options) {
  const double begin = Seconds(CLOCK_THREAD_CPUTIME_ID);
  ILRE_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Load(options.model));
  const double load_seconds = Seconds(CLOCK_THREAD_CPUTIME_ID) - begin;
  ILRE_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(options.file));
  if (options.bench_seconds > 0) {
    Bench(*tokenizer, file->bytes(), options, load_seconds);
    return absl::OkStatus();
  }
  const Tokens tokens = EncodeAll(*tokenizer, file->bytes(), options);
  std::fwrite(tokens.ids.data(), sizeof(tokens.ids[0]), tokens.ids.size(), stdout);
  if (options.ends) std::fwrite(tokens.ends.data(), sizeof(tokens.ends[0]), tokens.ends.size(), stdout);
  return absl::OkStatus();
}

bool ParseOptions(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (arg == "--parse") {
      options->special = SpecialTokens::kParse;
    } else if (arg == "--ends") {
      options->ends = true;
    } else if (absl::ConsumePrefix(&arg, "--pieces=")) {
      if (!absl::SimpleAtoi(arg, &options->piece_bytes)) return false;
    } else if (absl::ConsumePrefix(&arg, "--bench=")) {
      if (!absl::SimpleAtod(arg, &options->bench_seconds)) return false;
    } else if (options->model.empty()) {
      options->model = std::string(arg);
    } else if (options->file.empty()) {
      options->file = std::string(arg);
    } else {
      return false;
    }
  }
  return !options->file.empty();
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  ilre::Options options;
  if (!ilre::ParseOptions(argc, argv, &options)) {
    std::fprintf(stderr, "usage: tokenize_file MODEL FILE [--parse] [--pieces=BYTES] [--ends] [--bench=SECONDS]\n");
    return 2;
  }
  const absl::Status status = ilre::Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "tokenize_file: %s\n", std::string(status.message()).c_str());
  return 1;
}
