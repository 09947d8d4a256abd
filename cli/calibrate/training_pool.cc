#include "cli/calibrate/training_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/content_digest.h"
#include "cli/json_output.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/kernels/elementwise.h"
#include "common/store/records.h"

namespace ilre::cli {
namespace {

// A kept file: the numbers, then their digest. One that is not whole counts as none.
absl::Status Keep(const std::string& path, const std::vector<uint16_t>& numbers) {
  const absl::string_view bytes(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(uint16_t));
  return WriteFileAtomically(path, absl::StrCat(bytes, ContentDigest(bytes)));
}

bool ReadKept(const std::string& path, size_t count, std::vector<uint16_t>* numbers) {
  const size_t size = count * sizeof(uint16_t);
  const auto file = MappedFile::Open(path);
  if (!file.ok() || (*file)->bytes().size() < size) return false;
  const absl::string_view bytes = (*file)->bytes().substr(0, size);
  if ((*file)->bytes().substr(size) != ContentDigest(bytes)) return false;
  numbers->resize(count);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(numbers->data()));
  return true;
}

std::string Stripped(absl::string_view text) { return std::string(absl::StripAsciiWhitespace(text)); }

}  // namespace

absl::StatusOr<PoolReader> PoolReader::Create(const Decoder& decoder, const Tokenizer& tokenizer,
                                              const RetrievalProfile& profile, std::vector<int> layers,
                                              std::string folder) {
  PoolReader reader(decoder, tokenizer, profile);
  std::sort(layers.begin(), layers.end());
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  if (layers.empty()) return errors::InvalidArgument("no layer to read");
  ILRE_ASSIGN_OR_RETURN(reader.starts_, StartStreams(decoder, tokenizer, profile, std::max(1, layers.back())));
  if (!folder.empty()) ILRE_RETURN_IF_ERROR(CreateFolders(folder));
  reader.layers_ = std::move(layers);
  reader.folder_ = std::move(folder);
  return reader;
}

std::string PoolReader::FilesOf(const TrainingText& text) const {
  Json content = {profile_.model, profile_.EncodingFingerprint(), profile_.neutral_passage, profile_.question_prefix,
                  text.text};
  for (const TextQuestion& question : text.questions) content.push_back(question.question);
  return absl::StrCat(folder_, "/", ContentDigest(DumpLine(content)));
}

// streams: the text's tokens, then each question's.
absl::Status PoolReader::Compute(const std::vector<std::vector<TokenId>>& streams, const std::vector<int>& layers,
                                 const TokensRead& tokens_read, TrainingPool* pool) const {
  std::vector<Tap> taps;
  for (const int layer : layers) taps.push_back({Tap::Kind::kInput, layer});
  for (size_t i = 0; i < streams.size(); ++i) {
    StreamState state = i == 0 ? starts_.document : starts_.question;
    const auto keep = [&](size_t, absl::Span<const TokenId> ids, const std::vector<std::vector<float>>& block) {
      for (size_t tap = 0; tap < taps.size(); ++tap) {
        std::vector<uint16_t>& numbers = pool->inputs[layers[tap]];
        const size_t before = numbers.size();
        numbers.resize(before + block[tap].size());
        kernels::ConvertToBf16(block[tap].data(), static_cast<int64_t>(block[tap].size()), numbers.data() + before);
      }
      return !tokens_read || tokens_read(static_cast<int64_t>(ids.size()));
    };
    ILRE_RETURN_IF_ERROR(StreamBlocks(decoder_, streams[i], taps, &state, keep));
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainingPool> PoolReader::Read(const TrainingText& text, const TokensRead& tokens_read) const {
  TrainingPool pool;
  pool.hidden_size = decoder_.config().hidden_size;
  SegmentedText segmented = SegmentText(tokenizer_, text.text, profile_);
  pool.segment_begins = segmented.begins;
  for (int64_t segment = 0; segment < pool.num_segments(); ++segment) {
    const int64_t first = segmented.begins[segment], last = segmented.begins[segment + 1] - 1;
    const size_t begin = first == 0 ? 0 : segmented.tokens.ends[first - 1], end = segmented.tokens.ends[last];
    pool.segment_texts.push_back(Stripped(absl::string_view(text.text).substr(begin, end - begin)));
  }
  std::vector<std::vector<TokenId>> streams = {std::move(segmented.tokens.ids)};
  pool.question_begins = {static_cast<int64_t>(streams[0].size())};
  for (const TextQuestion& question : text.questions) {
    streams.push_back(QuestionTokens(tokenizer_, profile_, question.question));
    pool.question_begins.push_back(pool.question_begins.back() + static_cast<int64_t>(streams.back().size()));
    pool.question_texts.push_back(Stripped(question.question));
    pool.gold.push_back(question.answer_end == 0 ? std::vector<int64_t>() : segmented.GoldSegments(question));
  }

  const size_t count = static_cast<size_t>(pool.question_begins.back() * pool.hidden_size);
  const std::string files = folder_.empty() ? "" : FilesOf(text);
  const auto file_of = [&](int layer) { return absl::StrCat(files, "-", layer, ".bf16"); };
  std::vector<int> missing;
  for (const int layer : layers_) {
    if (folder_.empty() || !ReadKept(file_of(layer), count, &pool.inputs[layer])) missing.push_back(layer);
  }
  if (missing.empty()) {
    if (tokens_read && !tokens_read(pool.question_begins.back())) return errors::Cancelled("calibrate");
    return pool;
  }
  for (const int layer : missing) pool.inputs[layer].reserve(count);
  ILRE_RETURN_IF_ERROR(Compute(streams, missing, tokens_read, &pool));
  if (folder_.empty()) return pool;
  for (const int layer : missing) ILRE_RETURN_IF_ERROR(Keep(file_of(layer), pool.inputs[layer]));
  return pool;
}

}  // namespace ilre::cli
