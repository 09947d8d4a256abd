// Runs a model over sequences of token ids and writes every position's logits, for comparison with other engines.
//
// Usage: logits_of_ids MODEL DEVICE IDS LOGITS
//   DEVICE  as of `ilre --device`; "cpu" computes in float32, "cpu-quantized" over the file's own codes
//   IDS     one sequence a line, ids in decimal, separated by blanks
//   LOGITS  is written: float32, row-major [all tokens of all lines, vocabulary]
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/status_macros.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"

namespace ilre {
namespace {

absl::Status Run(const std::string& model, const std::string& device, const char* ids_path, const char* logits_path) {
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model));
  DecoderOptions options{.device = device, .arithmetic = Arithmetic::kFloat32};
  if (device == "cpu-quantized") {
    options = {.device = "cpu", .arithmetic = Arithmetic::kQuantized, .stream_layers = 0};
  }
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, options));
  std::ifstream lines(ids_path);
  std::ofstream out(logits_path, std::ios::binary);
  size_t num_tokens = 0;
  double seconds = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<TokenId> ids;
    for (TokenId id; words >> id;) ids.push_back(id);
    if (ids.empty()) continue;
    const auto start = std::chrono::steady_clock::now();
    ILRE_ASSIGN_OR_RETURN(const auto cache, decoder->NewCache(static_cast<int64_t>(ids.size())));
    std::vector<float> logits;
    ILRE_RETURN_IF_ERROR(decoder->Forward(ids, cache.get(), {}, Decoder::Logits::kAll, nullptr, &logits));
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    num_tokens += ids.size();
    out.write(reinterpret_cast<const char*>(logits.data()),
              static_cast<std::streamsize>(logits.size() * sizeof(float)));
  }
  std::printf("%s: %zu tokens in %.2f s\n", device.c_str(), num_tokens, seconds);
  out.close();
  return out.good() ? absl::OkStatus() : absl::UnknownError(std::string("cannot write ") + logits_path);
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: logits_of_ids MODEL DEVICE IDS LOGITS\n");
    return 2;
  }
  const absl::Status status = ilre::Run(argv[1], argv[2], argv[3], argv[4]);
  if (!status.ok()) std::fprintf(stderr, "logits_of_ids: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
