#include "common/model/stored_checkpoint.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/model/dequantize.h"
#include "common/model/model_tensors.h"
#include "common/model/quoted.h"
#include "xxhash.h"

namespace ilre {
namespace {

// Elements that are dequantised and then checked at a time, so that the check finds them in the cache. A multiple of
// every type's block.
constexpr int64_t kChunkElements = 4096;

std::string ShapeText(absl::Span<const int64_t> shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

int64_t Product(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

void DequantizeTo(GgmlType type, absl::string_view bytes, absl::Span<float> out) { Dequantize(type, bytes, out); }
void DequantizeTo(GgmlType type, absl::string_view bytes, absl::Span<uint16_t> out) {
  DequantizeToBf16(type, bytes, out);
}
bool Finite(absl::Span<const float> values) { return AllFinite(values); }
bool Finite(absl::Span<const uint16_t> values) { return AllFiniteBf16(values); }

// XXH3 over parts, each with its length before it, so that no two lists of parts run into the same bytes.
class Fingerprint {
 public:
  Fingerprint() : state_(XXH3_createState()) { XXH3_64bits_reset(state_); }
  ~Fingerprint() { XXH3_freeState(state_); }
  Fingerprint(const Fingerprint&) = delete;
  Fingerprint& operator=(const Fingerprint&) = delete;

  void Add(absl::string_view part) {
    AddNumber(part.size());
    XXH3_64bits_update(state_, part.data(), part.size());
  }
  template <typename T>
  void AddNumber(T number) {
    XXH3_64bits_update(state_, &number, sizeof(number));
  }
  std::string Hex() const { return absl::StrFormat("%016x", XXH3_64bits_digest(state_)); }

 private:
  XXH3_state_t* state_;
};

void AddConfig(const ModelConfig& config, Fingerprint* fingerprint) {
  fingerprint->Add(config.architecture);
  for (int64_t size :
       {config.num_layers, config.hidden_size, config.num_heads, config.num_kv_heads, config.head_dim, config.ffn_size,
        config.vocab_size, int64_t{config.qkv_bias}, int64_t{config.qk_norm}, int64_t{config.tied_embeddings}}) {
    fingerprint->AddNumber(size);
  }
  fingerprint->AddNumber(config.rms_norm_eps);
  fingerprint->AddNumber(config.rope_theta);
  fingerprint->AddNumber(config.rope_frequency_factors.size());
  for (float factor : config.rope_frequency_factors) fingerprint->AddNumber(factor);
  if (config.local_layers.empty()) return;  // as for all models of the first releases
  for (bool local : config.local_layers) fingerprint->AddNumber(uint8_t{local});
  fingerprint->AddNumber(config.local_window);
  fingerprint->AddNumber(config.local_rope_theta);
  fingerprint->AddNumber(config.query_scalar);
}

// Small tensors whole, of larger ones pieces spread evenly from the first byte to the last: each may cost a read from
// the disk.
void AddSample(absl::string_view bytes, Fingerprint* fingerprint) {
  constexpr size_t kPieces = 4, kPieceBytes = 1024;
  fingerprint->AddNumber(bytes.size());
  if (bytes.size() <= kPieces * kPieceBytes) return fingerprint->Add(bytes);
  for (size_t i = 0; i < kPieces; ++i) {
    fingerprint->Add(bytes.substr((bytes.size() - kPieceBytes) * i / (kPieces - 1), kPieceBytes));
  }
}

std::string FingerprintOf(const StoredModel& model) {
  std::vector<absl::string_view> names;
  for (const auto& [name, tensor] : model.tensors) names.push_back(name);
  std::sort(names.begin(), names.end());
  Fingerprint fingerprint;
  fingerprint.Add("ilre weights 1");
  AddConfig(model.config, &fingerprint);
  for (absl::string_view name : names) {
    const StoredTensor& tensor = model.tensors.at(name);
    fingerprint.Add(name);
    fingerprint.AddNumber(static_cast<uint32_t>(tensor.type));
    for (int64_t size : tensor.shape) fingerprint.AddNumber(size);
    AddSample(tensor.bytes, &fingerprint);
  }
  return fingerprint.Hex();
}

absl::Status CheckTensors(const StoredModel& model) {
  const std::vector<NamedShape> expected = TensorsOf(model.config);
  absl::flat_hash_set<absl::string_view> known;
  for (const NamedShape& tensor : expected) {
    const auto found = model.tensors.find(tensor.name);
    if (found == model.tensors.end()) {
      return errors::BadModelFile(model.path, absl::StrCat("tensor ", tensor.name, " is missing"));
    }
    if (found->second.shape != tensor.shape) {
      return errors::BadModelFile(
          model.path, absl::StrCat("tensor ", tensor.name, " has shape ", ShapeText(found->second.shape), " where ",
                                   ShapeText(tensor.shape), " is expected"));
    }
    known.insert(tensor.name);
  }
  for (const auto& [name, tensor] : model.tensors) {
    if (known.contains(name)) continue;
    return errors::BadModelFile(
        model.path, absl::StrCat("tensor ", Quoted(name), " has no place in a ", model.config.architecture, " model"));
  }
  return absl::OkStatus();
}

absl::Status CheckTokenizer(const StoredModel& model) {
  const int64_t num_tokens = static_cast<int64_t>(model.tokenizer.tokens.size());
  if (num_tokens >= 1 && num_tokens <= model.config.vocab_size) return absl::OkStatus();
  return errors::BadModelFile(
      model.path, absl::StrCat("its tokenizer has ", num_tokens, " tokens, its embedding ", model.config.vocab_size));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> StoredCheckpoint::Create(StoredModel model) {
  ILRE_RETURN_IF_ERROR(CheckTensors(model));
  ILRE_RETURN_IF_ERROR(CheckTokenizer(model));
  return std::unique_ptr<Checkpoint>(new StoredCheckpoint(std::move(model)));
}

StoredCheckpoint::StoredCheckpoint(StoredModel model) {
  fingerprint_ = FingerprintOf(model);
  path_ = std::move(model.path);
  config_ = std::move(model.config);
  tokenizer_ = std::move(model.tokenizer);
  tensors_ = std::move(model.tensors);
  files_ = std::move(model.files);
}

std::vector<std::string> StoredCheckpoint::TensorNames() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

// Reads in stretches that lie together both in the file and in the result: the whole tensor, or single rows where rows
// change their places.
template <typename T>
absl::Status StoredCheckpoint::ReadRows(absl::string_view name, const StoredTensor& tensor, absl::Span<T> out) const {
  const GgmlTypeInfo& info = GgmlTypeInfoOf(tensor.type);
  const bool reorder = tensor.rotary_order == RotaryOrder::kInterleaved;
  const int64_t num_rows = tensor.shape.front();
  const int64_t total = static_cast<int64_t>(out.size());
  const int64_t stretch = reorder ? total / num_rows : total;  // elements
  const int64_t head_dim = config_.head_dim;
  for (int64_t begin = 0; begin < total; begin += stretch) {
    int64_t source = begin;
    if (reorder) {
      source = InterleavedRow(begin / stretch, head_dim) * stretch;
    }
    for (int64_t done = 0; done < stretch; done += kChunkElements) {
      const int64_t size = std::min(kChunkElements, stretch - done);
      const int64_t first_block = (source + done) / info.block_elements;
      const absl::Span<T> chunk = out.subspan(begin + done, size);
      DequantizeTo(tensor.type,
                   tensor.bytes.substr(first_block * info.block_bytes, size / info.block_elements * info.block_bytes),
                   chunk);
      if constexpr (std::is_same_v<T, float>) {
        for (float& value : chunk) value += tensor.offset;
      }
      if (!Finite(chunk)) {
        return errors::BadModelFile(
            path_, absl::StrCat("tensor ", name, " has a value that is not finite, from element ", source + done));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<const StoredTensor*> StoredCheckpoint::Find(absl::string_view name,
                                                           absl::Span<const int64_t> shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return errors::BadModelFile(path_, absl::StrCat("tensor ", Quoted(name), " is missing"));
  }
  const StoredTensor& tensor = found->second;
  if (shape != absl::MakeConstSpan(tensor.shape)) {
    return errors::BadModelFile(path_, absl::StrCat("tensor ", name, " has shape ", ShapeText(tensor.shape), " where ",
                                                    ShapeText(shape), " is asked for"));
  }
  return &tensor;
}

template <typename T>
absl::Status StoredCheckpoint::Read(absl::string_view name, absl::Span<const int64_t> shape, absl::Span<T> out) const {
  ILRE_ASSIGN_OR_RETURN(const StoredTensor* const tensor, Find(name, shape));
  const size_t num_elements = static_cast<size_t>(Product(shape));
  if (out.size() < num_elements) {
    return errors::InvalidArgument(
        absl::StrCat("room for ", out.size(), " elements of tensor ", name, ", which has ", num_elements));
  }
  return ReadRows(name, *tensor, out.first(num_elements));
}

absl::StatusOr<absl::optional<Checkpoint::Blocks>> StoredCheckpoint::FindBlocks(absl::string_view name,
                                                                                absl::Span<const int64_t> shape) const {
  ILRE_ASSIGN_OR_RETURN(const StoredTensor* const tensor, Find(name, shape));
  const GgmlTypeInfo& info = GgmlTypeInfoOf(tensor->type);
  if (info.block_elements == 1 || shape.size() != 2) return absl::optional<Blocks>();
  Blocks blocks{tensor->type, reinterpret_cast<const uint8_t*>(tensor->bytes.data()),
                shape[1] / info.block_elements * info.block_bytes};
  if (tensor->rotary_order == RotaryOrder::kInterleaved) blocks.interleaved_head_dim = config_.head_dim;
  return absl::optional<Blocks>(blocks);
}

absl::Status StoredCheckpoint::ReadTensor(absl::string_view name, absl::Span<const int64_t> shape,
                                          absl::Span<float> out) const {
  return Read(name, shape, out);
}

absl::Status StoredCheckpoint::ReadTensorBf16(absl::string_view name, absl::Span<const int64_t> shape,
                                              absl::Span<uint16_t> out) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.offset == 0) return Read(name, shape, out);
  std::vector<float> values(out.size());  // rounded once, after the sum
  ILRE_RETURN_IF_ERROR(Read(name, shape, absl::MakeSpan(values)));
  std::transform(values.begin(), values.end(), out.begin(), FloatToBf16);
  return absl::OkStatus();
}

}  // namespace ilre
