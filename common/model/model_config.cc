#include "common/model/model_config.h"

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"

namespace ilre {
namespace {

absl::Status InRange(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return errors::InvalidArgument(absl::StrCat(name, " is ", value, ", outside ", low, " to ", high));
}

}  // namespace

absl::Status ModelConfig::Validate() const {
  for (const absl::Status& status : {
           InRange("number of layers", num_layers, 1, 1024),
           InRange("hidden size", hidden_size, 1, 65536),
           InRange("number of heads", num_heads, 1, 1024),
           InRange("number of key heads", num_kv_heads, 1, 1024),
           InRange("head size", head_dim, 2, 1024),
           InRange("feed-forward size", ffn_size, 1, 1 << 20),
           InRange("vocabulary size", vocab_size, 1, 1 << 22),
           InRange("context length", context_length, 1, int64_t{1} << 32),
       }) {
    if (!status.ok()) return status;
  }
  if (head_dim % 2 != 0) return errors::InvalidArgument("head size is odd");
  if (num_heads % num_kv_heads != 0) {
    return errors::InvalidArgument(
        absl::StrCat(num_heads, " query heads cannot share ", num_kv_heads, " key heads evenly"));
  }
  if (!(rms_norm_eps > 0 && rms_norm_eps < 1)) return errors::InvalidArgument("norm epsilon is not in (0, 1)");
  if (!(rope_theta >= 1 && rope_theta <= 1e12)) return errors::InvalidArgument("rope theta is not in [1, 1e12]");
  if (!rope_frequency_factors.empty() && rope_frequency_factors.size() != static_cast<size_t>(head_dim / 2)) {
    return errors::InvalidArgument("number of rope frequency factors is not half the head size");
  }
  for (float factor : rope_frequency_factors) {
    if (!(factor > 0 && factor < 1e9)) return errors::InvalidArgument("a rope frequency factor is not in (0, 1e9)");
  }
  return ValidateLocalLayers();
}

std::vector<bool> LocalButEach(int64_t period, int64_t num_layers) {
  std::vector<bool> local;
  for (int64_t layer = 1; layer <= num_layers; ++layer) local.push_back(layer % period != 0);
  return local;
}

absl::Status ModelConfig::ValidateLocalLayers() const {
  if (!(embedding_scale > 0 && embedding_scale < 1e6)) {
    return errors::InvalidArgument("embedding scale is not in (0, 1e6)");
  }
  if (!(query_scalar >= 0 && query_scalar < 1e6)) return errors::InvalidArgument("query scalar is not in [0, 1e6)");
  if (local_layers.empty()) return absl::OkStatus();
  if (local_layers.size() != static_cast<size_t>(num_layers)) {
    return errors::InvalidArgument(
        absl::StrCat(local_layers.size(), " kinds of layers are given for ", num_layers, " layers"));
  }
  if (absl::Status status = InRange("sliding window", local_window, 1, int64_t{1} << 32); !status.ok()) return status;
  if (!(local_rope_theta >= 1 && local_rope_theta <= 1e12)) {
    return errors::InvalidArgument("rope theta of local layers is not in [1, 1e12]");
  }
  return absl::OkStatus();
}

}  // namespace ilre
