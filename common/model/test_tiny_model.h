// A small model as the GGUF file that a converter would write, with one thing changed where a test says so.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/random.h"
#include "common/model/test_gguf_writer.h"

namespace ilre {

// Sizes of the model; weights are F32, if nothing else is said, and count upwards through the file, times 2^-10.
struct TinyModel {
  std::string architecture = "llama";
  int64_t num_layers = 2, hidden = 16, heads = 4, kv_heads = 2, head_dim = 8, ffn = 24, vocab = 270;
  bool biases = false, qk_norm = false, post_norms = false, output = true;

  // Called for each tensor; what it returns is written instead: another name or shape, or nothing for an empty name.
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
  };
  std::function<Tensor(Tensor)> change = [](Tensor tensor) { return tensor; };
  // The type of a matrix: F32, Q4_0, Q4_1 or Q8_0. The latter's blocks have codes at random and scales about 2^-6 (and
  // minimums which make codes cancel).
  std::function<GgmlType(const std::string& name)> type_of = [](const std::string&) { return GgmlType::kF32; };
  // Adds to or spoils the metadata; called after the usual values, keys to leave out are in `without`.
  std::function<void(GgufWriter*)> add = [](GgufWriter*) {};
  std::vector<std::string> without;

  std::string File() const {
    GgufWriter writer;
    AddMetadata(&writer);
    add(&writer);
    int64_t next = 0;
    Random random(1);
    AddTensors([&](const std::string& name, const std::vector<int64_t>& shape) {
      const Tensor tensor = change({name, shape});
      if (tensor.name.empty()) return;
      int64_t count = 1;
      for (int64_t size : tensor.shape) count *= size;
      const GgmlType type = tensor.shape.size() == 2 ? type_of(tensor.name) : GgmlType::kF32;
      if (type != GgmlType::kF32) {
        writer.AddTensor(tensor.name, type, tensor.shape, RandomBlocks(type, count, &random));
        return;
      }
      std::vector<float> values(count);
      for (float& value : values) value = static_cast<float>(next++) / 1024;
      writer.AddTensor(tensor.name, GgmlType::kF32, tensor.shape,
                       absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
    });
    return writer.Finish();
  }

 private:
  static std::string RandomBlocks(GgmlType type, int64_t count, Random* random) {
    const GgmlTypeInfo& info = GgmlTypeInfoOf(type);
    std::string bytes;
    for (int64_t block = 0; block < count / info.block_elements; ++block) {
      const size_t begin = bytes.size();
      for (int64_t i = 0; i < info.block_bytes; ++i) bytes.push_back(static_cast<char>(random->Next()));
      const uint16_t scale =
          static_cast<uint16_t>((type == GgmlType::kQ8_0 ? 0x0C00 : 0x2400) | (random->Next() & 0x3FF));
      const uint16_t minimum = static_cast<uint16_t>((scale + (3 << 10)) | 0x8000);  // -8 scale
      std::memcpy(&bytes[begin], &scale, 2);
      if (type == GgmlType::kQ4_1) std::memcpy(&bytes[begin + 2], &minimum, 2);
    }
    return bytes;
  }

  void AddMetadata(GgufWriter* writer) const {
    auto wanted = [&](const std::string& key) {
      for (const std::string& left_out : without) {
        if (left_out == key) return false;
      }
      return true;
    };
    auto number = [&](const char* key, int64_t value) {
      if (wanted(key)) writer->AddNumber<uint32_t>(absl::StrCat(architecture, ".", key), value);
    };
    writer->AddString("general.architecture", architecture);
    number("block_count", num_layers);
    number("context_length", 512);
    number("embedding_length", hidden);
    number("feed_forward_length", ffn);
    number("attention.head_count", heads);
    number("attention.head_count_kv", kv_heads);
    number("attention.key_length", head_dim);
    number("attention.value_length", head_dim);
    if (wanted("attention.layer_norm_rms_epsilon")) {
      writer->AddNumber<float>(architecture + ".attention.layer_norm_rms_epsilon", 1e-5f);
    }
    if (wanted("rope.freq_base")) writer->AddNumber<float>(architecture + ".rope.freq_base", 20000.0f);
    AddTokenizer(writer);
  }

  // GPT-2's alphabet of bytes and two control tokens.
  static void AddTokenizer(GgufWriter* writer) {
    std::vector<std::string> tokens;
    int next_stand_in = 256;  // for bytes that do not print, code points from here on, in their order
    for (int byte = 0; byte < 256; ++byte) {
      const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      const int code = prints ? byte : next_stand_in++;
      tokens.push_back(code < 128
                           ? std::string(1, static_cast<char>(code))
                           : std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))});
    }
    std::vector<int32_t> types(256, 1);
    for (const char* control : {"<|start|>", "<|end|>"}) {
      tokens.push_back(control);
      types.push_back(3);
    }
    writer->AddString("tokenizer.ggml.model", "gpt2");
    writer->AddString("tokenizer.ggml.pre", "gpt-2");
    writer->AddStrings("tokenizer.ggml.tokens", tokens);
    writer->AddNumbers<int32_t>("tokenizer.ggml.token_type", types);
    writer->AddStrings("tokenizer.ggml.merges", {"a b", "ab c"});
    writer->AddNumber<uint32_t>("tokenizer.ggml.bos_token_id", 256);
    writer->AddNumber<uint32_t>("tokenizer.ggml.eos_token_id", 257);
  }

  void AddTensors(const std::function<void(const std::string&, const std::vector<int64_t>&)>& tensor) const {
    tensor("token_embd.weight", {vocab, hidden});
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      const std::string block = absl::StrCat("blk.", layer, ".");
      tensor(block + "attn_norm.weight", {hidden});
      tensor(block + "attn_q.weight", {heads * head_dim, hidden});
      tensor(block + "attn_k.weight", {kv_heads * head_dim, hidden});
      tensor(block + "attn_v.weight", {kv_heads * head_dim, hidden});
      tensor(block + "attn_output.weight", {hidden, heads * head_dim});
      if (biases) {
        tensor(block + "attn_q.bias", {heads * head_dim});
        tensor(block + "attn_k.bias", {kv_heads * head_dim});
        tensor(block + "attn_v.bias", {kv_heads * head_dim});
      }
      if (qk_norm) {
        tensor(block + "attn_q_norm.weight", {head_dim});
        tensor(block + "attn_k_norm.weight", {head_dim});
      }
      tensor(block + "ffn_norm.weight", {hidden});
      if (post_norms) {
        tensor(block + "post_attention_norm.weight", {hidden});
        tensor(block + "post_ffw_norm.weight", {hidden});
      }
      tensor(block + "ffn_gate.weight", {ffn, hidden});
      tensor(block + "ffn_up.weight", {ffn, hidden});
      tensor(block + "ffn_down.weight", {hidden, ffn});
    }
    tensor("output_norm.weight", {hidden});
    if (output) tensor("output.weight", {vocab, hidden});
  }
};

}  // namespace ilre
