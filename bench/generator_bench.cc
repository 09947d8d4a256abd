// Speed of the whole model: reading a prompt, one answer, and several at once.
//
// Usage: generator_bench MODEL [--threads N] [--rounds N] [--only float32|auto]
//                        [--part prompt|short|one|eight|requests]
//
// Of each measurement all rounds are made in turn, and the fastest and the median round are given by the clock on the
// wall, and the processor time of all threads in the median one. On a busy machine compare processor times, and the
// fastest rounds of one run.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/kernels/cpu_info.h"
#include "common/kernels/quantized_linear.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "generator_service/batch_generator.h"

namespace ilre {
namespace {

constexpr int kPromptTokens = 512, kAnswerTokens = 32, kAnswersAtOnce = 8;

double ProcessorSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Times {
  std::vector<double> wall, processor;  // seconds, a round each

  // Runs `body` once and adds its times.
  template <typename Body>
  absl::Status Add(const Body& body) {
    const auto start = std::chrono::steady_clock::now();
    const double processor_start = ProcessorSeconds();
    ILRE_RETURN_IF_ERROR(body());
    processor.push_back(ProcessorSeconds() - processor_start);
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    return absl::OkStatus();
  }
  static double Median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }
  void Print(const char* what, double tokens) const {
    if (wall.empty()) return;
    const double fastest = *std::min_element(wall.begin(), wall.end()), median = Median(wall);
    std::printf("  %-44s %8.1f tokens/s (median %.1f), processor %.2f ms a token\n", what, tokens / fastest,
                tokens / median, 1e3 * Median(processor) / tokens);
  }
  double Fastest() const { return *std::min_element(wall.begin(), wall.end()); }
};

std::vector<TokenId> RandomIds(int count, int64_t vocab, uint64_t seed) {
  Random random(seed);
  std::vector<TokenId> ids(static_cast<size_t>(count));
  for (TokenId& id : ids) id = static_cast<TokenId>(random.Below(static_cast<uint64_t>(vocab)));
  return ids;
}

// kAnswerTokens tokens, one after the other, for each of `caches`.
absl::Status DecodeTogether(const Decoder& decoder, const std::vector<std::unique_ptr<KvCache>>& caches, size_t count) {
  const std::vector<TokenId> ids = RandomIds(kAnswerTokens, decoder.config().vocab_size, 2);
  std::vector<std::vector<float>> logits(count);
  for (int i = 0; i < kAnswerTokens; ++i) {
    std::vector<Decoder::Sequence> sequences;
    for (size_t s = 0; s < count; ++s) {
      sequences.push_back({absl::MakeConstSpan(ids).subspan(static_cast<size_t>(i), 1), caches[s].get(),
                           Decoder::Logits::kLast, &logits[s]});
    }
    ILRE_RETURN_IF_ERROR(decoder.ForwardBatch(sequences));
  }
  for (size_t s = 0; s < count; ++s) caches[s]->Truncate(caches[s]->num_tokens() - kAnswerTokens);
  return absl::OkStatus();
}

absl::Status MeasureModel(const Decoder& decoder, int rounds, const std::string& part) {
  const std::vector<TokenId> prompt = RandomIds(kPromptTokens, decoder.config().vocab_size, 1);
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<float> logits;
  for (int i = 0; i < kAnswersAtOnce; ++i) {
    ILRE_ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache, decoder.NewCache(kPromptTokens + kAnswerTokens));
    ILRE_RETURN_IF_ERROR(decoder.Forward(prompt, cache.get(), {}, Decoder::Logits::kLast, nullptr, &logits));
    caches.push_back(std::move(cache));
  }
  Times prefill, short_past, one, eight;
  std::vector<std::unique_ptr<KvCache>> scratch;  // of a prompt, and of an answer with 16 tokens before it
  for (int i = 0; i < 2; ++i) {
    ILRE_ASSIGN_OR_RETURN(std::unique_ptr<KvCache> cache, decoder.NewCache(kPromptTokens));
    scratch.push_back(std::move(cache));
  }
  const auto add = [&](const char* name, Times* times, const auto& body) {
    return part.empty() || part == name ? times->Add(body) : absl::OkStatus();
  };
  for (int round = 0; round < rounds; ++round) {
    ILRE_RETURN_IF_ERROR(add("prompt", &prefill, [&] {
      scratch[0]->Truncate(0);
      return decoder.Forward(prompt, scratch[0].get(), {}, Decoder::Logits::kLast, nullptr, &logits);
    }));
    scratch[0]->Truncate(16);
    ILRE_RETURN_IF_ERROR(add("short", &short_past, [&] { return DecodeTogether(decoder, scratch, 1); }));
    ILRE_RETURN_IF_ERROR(add("one", &one, [&] { return DecodeTogether(decoder, caches, 1); }));
    ILRE_RETURN_IF_ERROR(add("eight", &eight, [&] { return DecodeTogether(decoder, caches, caches.size()); }));
  }
  prefill.Print("prompt of 512 tokens", kPromptTokens);
  short_past.Print("one answer, 16 tokens before it", kAnswerTokens);
  one.Print("one answer, 512 tokens before it", kAnswerTokens);
  eight.Print("eight answers, 512 tokens before each", kAnswerTokens * kAnswersAtOnce);
  if (one.wall.empty() || eight.wall.empty()) return absl::OkStatus();
  std::printf("  eight at once: %.2f times the tokens per second of one alone\n",
              kAnswersAtOnce * one.Fastest() / eight.Fastest());
  return absl::OkStatus();
}

// The same through BatchGenerator, prompts and choice of tokens included.
absl::Status MeasureGenerator(const Decoder& decoder, const Tokenizer& tokenizer, int rounds) {
  BatchGenerator generator(decoder, tokenizer, {.max_running = kAnswersAtOnce});
  GenerateOptions options;
  options.max_tokens = kAnswerTokens;
  const auto ask = [&](int calls, Times* times, int64_t* tokens) -> absl::Status {
    const int64_t before = generator.stats().decoded_tokens;
    std::vector<absl::Status> statuses(static_cast<size_t>(calls));
    ILRE_RETURN_IF_ERROR(times->Add([&] {
      std::vector<std::thread> threads;
      for (int i = 0; i < calls; ++i) {
        threads.emplace_back([&, i] {
          const std::vector<TokenId> prompt =
              RandomIds(kPromptTokens, decoder.config().vocab_size, static_cast<uint64_t>(i));
          statuses[static_cast<size_t>(i)] = generator.Generate(prompt, options, nullptr).status();
        });
      }
      for (std::thread& thread : threads) thread.join();
      return absl::OkStatus();
    }));
    *tokens = generator.stats().decoded_tokens - before;
    for (const absl::Status& status : statuses) ILRE_RETURN_IF_ERROR(status);
    return absl::OkStatus();
  };
  Times one, eight;
  int64_t tokens_of_one = 0, tokens_of_eight = 0;
  for (int round = 0; round < rounds; ++round) {
    ILRE_RETURN_IF_ERROR(ask(1, &one, &tokens_of_one));
    ILRE_RETURN_IF_ERROR(ask(kAnswersAtOnce, &eight, &tokens_of_eight));
  }
  one.Print("one request, its prompt included", static_cast<double>(tokens_of_one));
  eight.Print("eight requests at once, prompts included", static_cast<double>(tokens_of_eight));
  return absl::OkStatus();
}

absl::Status Run(const std::string& model, int rounds, const std::string& only, const std::string& part) {
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model));
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  std::printf("%s; quantized layers: %s; %d threads\n", kernels::CpuDescription().c_str(),
              kernels::QuantizedPathName(kernels::ChosenQuantizedPath()), DefaultPool().num_threads());
  for (const auto& [name, arithmetic] :
       {std::pair("float32", Arithmetic::kFloat32), std::pair("auto", Arithmetic::kAuto)}) {
    if (!only.empty() && only != name) continue;
    std::printf("%s:\n", name);
    std::unique_ptr<Decoder> decoder;
    Times load;
    ILRE_RETURN_IF_ERROR(load.Add([&]() -> absl::Status {
      ILRE_ASSIGN_OR_RETURN(decoder, Decoder::Load(*checkpoint, {.arithmetic = arithmetic, .stream_layers = 0}));
      return absl::OkStatus();
    }));
    std::printf("  loaded in %.2f s, processor %.2f s\n", load.wall[0], load.processor[0]);
    ILRE_RETURN_IF_ERROR(MeasureModel(*decoder, rounds, part));
    if (!part.empty() && part != "requests") continue;
    ILRE_RETURN_IF_ERROR(MeasureGenerator(*decoder, *tokenizer, std::min(rounds, 3)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::string model, only, part;
  int rounds = 5;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--threads" && i + 1 < argc) {
      ilre::SetDefaultPoolThreads(std::atoi(argv[++i]));
    } else if (argument == "--rounds" && i + 1 < argc) {
      rounds = std::max(1, std::atoi(argv[++i]));
    } else if (argument == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else if (argument == "--part" && i + 1 < argc) {
      part = argv[++i];
    } else {
      model = argument;
    }
  }
  if (model.empty()) {
    std::fprintf(stderr,
                 "usage: generator_bench MODEL [--threads N] [--rounds N] [--only float32|auto]\n"
                 "                       [--part prompt|short|one|eight|requests]\n");
    return 2;
  }
  const absl::Status status = ilre::Run(model, rounds, only, part);
  if (!status.ok()) std::fprintf(stderr, "generator_bench: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
