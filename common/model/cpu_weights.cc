#include "common/model/cpu_weights.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/kernels/elementwise.h"
#include "common/model/layer_names.h"

namespace ilre {
namespace {

using kernels::PackedLinear;
using kernels::QuantizedFormat;
using kernels::QuantizedLinear;

absl::optional<QuantizedFormat> FormatOf(GgmlType type) {
  if (type == GgmlType::kQ4_0) return QuantizedFormat::kQ4_0;
  if (type == GgmlType::kQ4_1) return QuantizedFormat::kQ4_1;
  if (type == GgmlType::kQ8_0) return QuantizedFormat::kQ8_0;
  return absl::nullopt;
}

std::string WeightName(const TensorReader::Part& part) { return absl::StrCat(part.name, ".weight"); }

int64_t RowsOf(const std::vector<TensorReader::Part>& parts) {
  int64_t rows = 0;
  for (const TensorReader::Part& part : parts) rows += part.rows;
  return rows;
}

}  // namespace

void CpuLinear::CopyRow(Exactness exactness, int64_t output, float* weights) const {
  if (has_packed() && (exactness == Exactness::kFloat32 || !has_quantized())) return packed.CopyRow(output, weights);
  quantized.CopyRow(output, weights);
  if (exactness == Exactness::kQuantized) return;
  uint16_t bits[QuantizedLinear::kBlock];
  for (int64_t i = 0; i < quantized.in_features(); i += QuantizedLinear::kBlock) {
    kernels::ConvertToBf16(weights + i, QuantizedLinear::kBlock, bits);
    kernels::ConvertFromBf16(bits, QuantizedLinear::kBlock, weights + i);
  }
}

void MulByGates(const ModelConfig& config, const float* gate_up, int64_t rows, int64_t size, float* out,
                ThreadPool& pool, int64_t in_stride, int64_t out_stride) {
  const auto mul = config.gate == ModelConfig::Gate::kGelu ? kernels::GeluMul : kernels::SiluMul;
  mul(gate_up, rows, size, out, pool, in_stride, out_stride);
}

void EmbedToken(const ModelConfig& config, const CpuLinear& embedding, Exactness exactness, TokenId id, float* x) {
  embedding.CopyRow(exactness, id, x);
  if (config.embedding_scale == 1) return;
  for (int64_t i = 0; i < config.hidden_size; ++i) x[i] *= config.embedding_scale;
}

absl::StatusOr<std::vector<float>> TensorReader::Floats(const std::string& name, int64_t size) {
  std::vector<float> values(static_cast<size_t>(size));
  read_.Add(name);
  ILRE_RETURN_IF_ERROR(checkpoint_.ReadTensor(name, {size}, absl::MakeSpan(values)));
  return values;
}

absl::StatusOr<CpuLinear> TensorReader::Linear(const std::vector<Part>& parts, int64_t columns,
                                               const LinearForms& forms, bool bias) {
  std::vector<float> biases;
  for (const Part& part : parts) {
    read_.Add(WeightName(part));
    if (!bias) continue;
    ILRE_ASSIGN_OR_RETURN(const std::vector<float> values, Floats(absl::StrCat(part.name, ".bias"), part.rows));
    biases.insert(biases.end(), values.begin(), values.end());
  }
  const float* const bias_or_null = bias ? biases.data() : nullptr;
  CpuLinear linear;
  if (forms.arithmetic != Arithmetic::kFloat32) {
    ILRE_ASSIGN_OR_RETURN(linear.quantized, Quantized(parts, columns, bias_or_null));
    if (forms.arithmetic == Arithmetic::kQuantized && !linear.has_quantized()) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "NOT_QUANTIZED",
                       absl::StrCat(checkpoint_.path(), ": tensor ", WeightName(parts[0]),
                                    " is not of type Q4_0, Q4_1 or Q8_0: use arithmetic auto or float32"));
    }
  }
  if (forms.packed || !linear.has_quantized()) {
    ILRE_ASSIGN_OR_RETURN(linear.packed, Packed(parts, columns, bias_or_null));
  }
  return linear;
}

absl::StatusOr<PackedLinear> TensorReader::Packed(const std::vector<Part>& parts, int64_t columns, const float* bias) {
  const int64_t rows = RowsOf(parts);
  std::vector<uint16_t> weight(static_cast<size_t>(rows * columns));
  size_t begin = 0;
  for (const Part& part : parts) {
    const size_t size = static_cast<size_t>(part.rows * columns);
    ILRE_RETURN_IF_ERROR(checkpoint_.ReadTensorBf16(WeightName(part), {part.rows, columns},
                                                    absl::MakeSpan(weight).subspan(begin, size)));
    begin += size;
  }
  return PackedLinear::FromBf16(weight.data(), rows, columns, bias);
}

absl::StatusOr<QuantizedLinear> TensorReader::Quantized(const std::vector<Part>& parts, int64_t columns,
                                                        const float* bias) {
  std::vector<Checkpoint::Blocks> blocks;
  absl::optional<QuantizedFormat> format;
  for (const Part& part : parts) {
    ILRE_ASSIGN_OR_RETURN(absl::optional<Checkpoint::Blocks> found,
                          checkpoint_.FindBlocks(WeightName(part), {part.rows, columns}));
    if (!found.has_value() || !FormatOf(found->type).has_value()) return QuantizedLinear();
    if (format.has_value() && format != FormatOf(found->type)) return QuantizedLinear();
    format = FormatOf(found->type);
    blocks.push_back(*std::move(found));
  }
  const auto row = [&](int64_t index) {
    size_t part = 0;
    while (index >= parts[part].rows) index -= parts[part++].rows;
    return blocks[part].row(index);
  };
  QuantizedLinear linear = QuantizedLinear::FromBlocks(*format, RowsOf(parts), columns, row, bias, DefaultPool());
  if (!linear.all_finite()) {
    return errors::BadModelFile(
        checkpoint_.path(), absl::StrCat("tensor ", WeightName(parts[0]), parts.size() > 1 ? " or one beside it" : "",
                                         " has a value that is not finite"));
  }
  return linear;
}

absl::StatusOr<CpuLayer> TensorReader::Layer(int index, const LinearForms& forms) {
  const ModelConfig& config = checkpoint_.config();
  const auto name = [&](const char* rest) { return LayerTensorName(index, rest); };
  const int64_t hidden = config.hidden_size, ffn = config.ffn_size, head_dim = config.head_dim;
  const int64_t queries = config.num_heads * head_dim, keys = config.num_kv_heads * head_dim;
  CpuLayer layer;
  ILRE_ASSIGN_OR_RETURN(layer.attention_norm, Floats(name("input_layernorm.weight"), hidden));
  ILRE_ASSIGN_OR_RETURN(layer.ffn_norm, Floats(name(FfnNormName(config.post_norms)), hidden));
  if (config.post_norms) {
    ILRE_ASSIGN_OR_RETURN(layer.post_attention_norm, Floats(name(kPostAttentionNormName), hidden));
    ILRE_ASSIGN_OR_RETURN(layer.post_ffn_norm, Floats(name(kPostFfnNormName), hidden));
  }
  if (config.qk_norm) {
    ILRE_ASSIGN_OR_RETURN(layer.query_norm, Floats(name("self_attn.q_norm.weight"), head_dim));
    ILRE_ASSIGN_OR_RETURN(layer.key_norm, Floats(name("self_attn.k_norm.weight"), head_dim));
  }
  ILRE_ASSIGN_OR_RETURN(
      layer.qkv,
      Linear({{name("self_attn.q_proj"), queries}, {name("self_attn.k_proj"), keys}, {name("self_attn.v_proj"), keys}},
             hidden, forms, config.qkv_bias));
  ILRE_ASSIGN_OR_RETURN(layer.output, Linear({{name("self_attn.o_proj"), hidden}}, queries, forms));
  ILRE_ASSIGN_OR_RETURN(layer.gate_up,
                        Linear({{name("mlp.gate_proj"), ffn}, {name("mlp.up_proj"), ffn}}, hidden, forms));
  ILRE_ASSIGN_OR_RETURN(layer.down, Linear({{name("mlp.down_proj"), hidden}}, ffn, forms));
  return layer;
}

}  // namespace ilre
