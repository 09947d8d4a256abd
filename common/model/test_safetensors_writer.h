// Writes safetensors files, for tests and seed corpora: also wrong ones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace ilre {

// The file of a header, whatever it says, and data.
inline std::string SafetensorsOf(absl::string_view header, absl::string_view data) {
  const uint64_t size = header.size();
  return absl::StrCat(absl::string_view(reinterpret_cast<const char*>(&size), sizeof(size)), header, data);
}

// Collects tensors, then gives the bytes of the file. Names must need no escaping.
class SafetensorsWriter {
 public:
  void AddTensor(absl::string_view name, absl::string_view dtype, const std::vector<int64_t>& shape,
                 absl::string_view bytes) {
    const size_t begin = data_.size();
    data_.append(bytes.data(), bytes.size());
    entries_.push_back(absl::StrCat("\"", name, R"(":{"dtype":")", dtype, R"(","shape":[)", absl::StrJoin(shape, ","),
                                    R"(],"data_offsets":[)", begin, ",", data_.size(), "]}"));
  }
  std::string Finish() const { return SafetensorsOf(absl::StrCat("{", absl::StrJoin(entries_, ","), "}"), data_); }

 private:
  std::vector<std::string> entries_;
  std::string data_;
};

}  // namespace ilre
