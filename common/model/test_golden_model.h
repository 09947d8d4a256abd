// The golden models of tests/decoder/golden, for tests: what transformers computed with them, and copies that can be
// spoilt.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/errors.h"
#include "common/kernels/elementwise.h"
#include "common/model/checkpoint.h"
#include "common/model/model_tensors.h"
#include "common/model/safetensors_file.h"

namespace ilre {

inline std::string GoldenFolder(const std::string& name) { return absl::StrCat("tests/decoder/golden/", name); }

inline std::vector<std::string> GoldenNames() {
  return {"llama3", "llama_mha_linear", "smollm2", "mistral", "qwen2", "qwen3", "gemma3", "gemma3_linear"};
}

// The numbers of golden.safetensors; tests/decoder/make_golden.py says what they are.
class Golden {
 public:
  explicit Golden(const std::string& name) {
    auto file = SafetensorsFile::Open(GoldenFolder(name) + "/golden.safetensors");
    ILRE_CHECK(file.ok());
    file_ = *std::move(file);
  }
  std::vector<int32_t> Ints(const std::string& name) const { return Read<int32_t>(name, "I32"); }
  std::vector<float> Floats(const std::string& name) const { return Read<float>(name, "F32"); }

 private:
  template <typename T>
  std::vector<T> Read(const std::string& name, const std::string& dtype) const {
    const SafetensorsTensor* tensor = file_->FindTensor(name);
    ILRE_CHECK(tensor != nullptr && tensor->dtype == dtype);
    std::vector<T> values(tensor->bytes.size() / sizeof(T));
    std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
    return values;
  }

  std::shared_ptr<const SafetensorsFile> file_;
};

// A checkpoint in memory, which unlike a file need not be whole.
class MemoryCheckpoint : public Checkpoint {
 public:
  struct TensorData {
    std::vector<int64_t> shape;
    std::vector<float> values;
  };

  // A copy of all that `other` holds.
  explicit MemoryCheckpoint(const Checkpoint& other) {
    path_ = "memory";
    config_ = other.config();
    tokenizer_ = other.tokenizer();
    fingerprint_ = other.fingerprint();
    for (const NamedShape& tensor : TensorsOf(config_)) {
      int64_t size = 1;
      for (const int64_t dim : tensor.shape) size *= dim;
      TensorData data{tensor.shape, std::vector<float>(static_cast<size_t>(size))};
      ILRE_CHECK(other.ReadTensor(tensor.name, tensor.shape, absl::MakeSpan(data.values)).ok());
      tensors[tensor.name] = std::move(data);
    }
  }

  std::map<std::string, TensorData> tensors;  // by name; to be changed as a test likes
  ModelConfig& mutable_config() { return config_; }

  bool HasTensor(absl::string_view name) const override { return tensors.count(std::string(name)) > 0; }
  std::vector<std::string> TensorNames() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors) names.push_back(name);
    return names;
  }
  absl::Status ReadTensor(absl::string_view name, absl::Span<const int64_t> shape,
                          absl::Span<float> out) const override {
    const auto found = tensors.find(std::string(name));
    if (found == tensors.end()) return errors::BadModelFile(path_, absl::StrCat("tensor ", name, " is missing"));
    if (shape != absl::MakeConstSpan(found->second.shape)) {
      return errors::BadModelFile(path_, absl::StrCat("tensor ", name, " has another shape"));
    }
    std::copy(found->second.values.begin(), found->second.values.end(), out.begin());
    return absl::OkStatus();
  }
  absl::Status ReadTensorBf16(absl::string_view name, absl::Span<const int64_t> shape,
                              absl::Span<uint16_t> out) const override {
    std::vector<float> values(out.size());
    if (absl::Status status = ReadTensor(name, shape, absl::MakeSpan(values)); !status.ok()) return status;
    kernels::ConvertToBf16(values.data(), static_cast<int64_t>(values.size()), out.data());
    return absl::OkStatus();
  }
};

}  // namespace ilre
