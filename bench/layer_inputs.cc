// Writes what layers of the model get as input, for texts and questions, as documents and questions are read with a
// profile: for experiments with probes outside of C++ (bench/harness/probes). Usage:
//
//   layer_inputs MODEL PROFILE INPUT.json OUTPUT
//
// INPUT.json: {"layers": [2, 16], "documents": [text...], "questions": [text...]}. OUTPUT.bin holds bfloat16
// [tokens, layers, hidden size], divided by each token's root mean square: the documents' tokens, then the questions'.
// OUTPUT.json: {"documents": [{"tokens": n, "segments": [first token...], "bytes": [first byte of each segment...]}],
// "questions": [tokens of each]}.
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/kernels/elementwise.h"
#include "common/model/checkpoint.h"
#include "common/model/decoder.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"
#include "common/retrieval/segmenter.h"
#include "common/store/records.h"
#include "nlohmann/json.hpp"

namespace ilre {
namespace {

using Json = nlohmann::json;

struct Reader {
  const Decoder& decoder;
  const Tokenizer& tokenizer;
  const RetrievalProfile& profile;
  std::vector<Tap> taps;
  std::ofstream* out;

  // Runs ids on from `state`; writes the taps if asked to.
  absl::Status Run(absl::Span<const TokenId> ids, bool write, StreamState* state) const {
    for (size_t begin = 0; begin < ids.size(); begin += kBlockTokens) {
      std::vector<std::vector<float>> values;
      const auto block = ids.subspan(begin, kBlockTokens);
      ILRE_RETURN_IF_ERROR(decoder.StreamBlock(block, taps, state, &values));
      if (!write) continue;
      const size_t hidden = values[0].size() / block.size();
      std::vector<uint16_t> bits(hidden);
      for (size_t token = 0; token < block.size(); ++token) {
        for (const std::vector<float>& tap : values) {
          kernels::ConvertToBf16(tap.data() + token * hidden, static_cast<int64_t>(hidden), bits.data());
          out->write(reinterpret_cast<const char*>(bits.data()), static_cast<std::streamsize>(hidden * 2));
        }
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Document(const std::string& text, StreamState state) const {
    const Tokens tokens = tokenizer.Encode(text);
    ILRE_RETURN_IF_ERROR(Run(tokens.ids, true, &state));
    Json json = {{"tokens", tokens.ids.size()}, {"segments", Json::array()}, {"bytes", Json::array()}};
    Segmenter segmenter(profile.max_segment, profile.max_indented);
    uint32_t begin = 0;
    for (size_t i = 0; i < tokens.ids.size(); ++i) {
      if (segmenter.StartsSegment(absl::string_view(text).substr(begin, tokens.ends[i] - begin))) {
        json["segments"].push_back(i);
        json["bytes"].push_back(begin);
      }
      begin = tokens.ends[i];
    }
    return json;
  }

  absl::StatusOr<size_t> Question(const std::string& text, StreamState state) const {
    const auto ids = tokenizer.EncodeIds(absl::StrCat(profile.question_prefix, text), SpecialTokens::kPlainText,
                                         TextPosition::kContinued);
    ILRE_RETURN_IF_ERROR(Run(ids, true, &state));
    return ids.size();
  }
};

absl::Status WriteInputs(const std::string& model, const std::string& profile_path, const std::string& input,
                         const std::string& output) {
  ILRE_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(model));
  ILRE_ASSIGN_OR_RETURN(const RetrievalProfile profile, LoadProfile(profile_path));
  ILRE_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Create(checkpoint->tokenizer()));
  ILRE_ASSIGN_OR_RETURN(const std::string text, ReadFile(input, uint64_t{1} << 30));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return errors::InvalidArgument(absl::StrCat(input, " is not a JSON object"));
  std::vector<Tap> taps;
  for (const int layer : json.at("layers")) taps.push_back({Tap::Kind::kInput, layer});
  DecoderOptions options;
  options.num_layers = Decoder::DepthOf(taps);
  ILRE_ASSIGN_OR_RETURN(const auto decoder, Decoder::Load(*checkpoint, options));
  std::ofstream out(output + ".bin", std::ios::binary);
  const Reader reader{*decoder, *tokenizer, profile, taps, &out};
  ILRE_ASSIGN_OR_RETURN(const StreamState start,
                        decoder->StartStream(tokenizer->EncodeIds(profile.prefix, SpecialTokens::kParse),
                                             options.num_layers, profile.window, profile.arithmetic));
  StreamState passage = start;
  ILRE_RETURN_IF_ERROR(
      reader.Run(tokenizer->EncodeIds(profile.neutral_passage, SpecialTokens::kPlainText, TextPosition::kContinued),
                 false, &passage));
  Json written = {{"documents", Json::array()}, {"questions", Json::array()}};
  for (const std::string document : json.at("documents")) {
    ILRE_ASSIGN_OR_RETURN(Json one, reader.Document(document, start));
    written["documents"].push_back(std::move(one));
  }
  for (const std::string question : json.at("questions")) {
    ILRE_ASSIGN_OR_RETURN(const size_t tokens, reader.Question(question, passage));
    written["questions"].push_back(tokens);
  }
  if (!out.flush()) return absl::DataLossError(absl::StrCat("cannot write ", output, ".bin"));
  return WriteFileAtomically(output + ".json", written.dump());
}

}  // namespace
}  // namespace ilre

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: layer_inputs MODEL PROFILE INPUT.json OUTPUT\n");
    return 2;
  }
  const absl::Status status = ilre::WriteInputs(argv[1], argv[2], argv[3], argv[4]);
  if (!status.ok()) std::fprintf(stderr, "layer_inputs: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
