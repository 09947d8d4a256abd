// Writes GGUF files byte by byte, for tests and seed corpora: also wrong ones.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/model/ggml_type.h"

namespace ilre {

// Collects metadata and tensors, then gives the bytes of the file. Example:
//   GgufWriter writer;
//   writer.AddString("general.architecture", "llama");
//   writer.AddTensor("output_norm.weight", GgmlType::kF32, {64}, bytes);
//   std::string file = writer.Finish();
class GgufWriter {
 public:
  // Where tests want something wrong.
  uint32_t version = 3;
  uint64_t alignment = 32;

  // Numbers of the types that the format has, by C++ type.
  template <typename T>
  void AddNumber(absl::string_view key, T value) {
    BeginValue(key, TypeCode<T>());
    Append(&values_, value);
  }
  void AddString(absl::string_view key, absl::string_view value) {
    BeginValue(key, kString);
    AppendString(&values_, value);
  }
  template <typename T>
  void AddNumbers(absl::string_view key, const std::vector<T>& elements) {
    BeginArray(key, TypeCode<T>(), elements.size());
    for (T element : elements) Append(&values_, element);
  }
  void AddStrings(absl::string_view key, const std::vector<std::string>& elements) {
    BeginArray(key, kString, elements.size());
    for (const std::string& element : elements) AppendString(&values_, element);
  }
  // A value of any type code and content.
  void AddRaw(absl::string_view key, uint32_t type, absl::string_view bytes) {
    BeginValue(key, type);
    values_.append(bytes.data(), bytes.size());
  }

  // `shape` has the outermost dimension first; `bytes` are placed after those of earlier tensors, aligned.
  void AddTensor(absl::string_view name, GgmlType type, const std::vector<int64_t>& shape, absl::string_view bytes) {
    AddTensorAt(name, static_cast<uint32_t>(type), shape, data_.size());
    data_.append(bytes.data(), bytes.size());
    Pad(&data_);
  }
  // Only a directory entry, of any type at any offset.
  void AddTensorAt(absl::string_view name, uint32_t type, const std::vector<int64_t>& shape, uint64_t offset) {
    AppendString(&directory_, name);
    Append(&directory_, static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i > 0; --i) Append(&directory_, shape[i - 1]);
    Append(&directory_, type);
    Append(&directory_, offset);
    ++num_tensors_;
  }

  std::string Finish() const {
    std::string file = "GGUF";
    Append(&file, version);
    Append(&file, num_tensors_);
    Append(&file, num_values_);
    file += values_ + directory_;
    Pad(&file);
    return file + data_;
  }

 private:
  static constexpr uint32_t kString = 8;
  static constexpr uint32_t kArray = 9;

  template <typename T>
  static constexpr uint32_t TypeCode() {
    if (std::is_same_v<T, uint8_t>) return 0;
    if (std::is_same_v<T, int8_t>) return 1;
    if (std::is_same_v<T, uint16_t>) return 2;
    if (std::is_same_v<T, int16_t>) return 3;
    if (std::is_same_v<T, uint32_t>) return 4;
    if (std::is_same_v<T, int32_t>) return 5;
    if (std::is_same_v<T, float>) return 6;
    if (std::is_same_v<T, bool>) return 7;
    if (std::is_same_v<T, uint64_t>) return 10;
    if (std::is_same_v<T, int64_t>) return 11;
    static_assert(std::is_arithmetic_v<T>);
    return 12;  // double
  }

  template <typename T>
  static void Append(std::string* to, T value) {
    to->append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  static void AppendString(std::string* to, absl::string_view text) {
    Append(to, static_cast<uint64_t>(text.size()));
    to->append(text.data(), text.size());
  }
  void Pad(std::string* bytes) const { bytes->resize((bytes->size() + alignment - 1) / alignment * alignment); }
  void BeginValue(absl::string_view key, uint32_t type) {
    AppendString(&values_, key);
    Append(&values_, type);
    ++num_values_;
  }
  void BeginArray(absl::string_view key, uint32_t type, uint64_t count) {
    BeginValue(key, kArray);
    Append(&values_, type);
    Append(&values_, count);
  }

  std::string values_, directory_, data_;
  uint64_t num_values_ = 0, num_tensors_ = 0;
};

}  // namespace ilre
