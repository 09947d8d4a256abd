#include "common/model/safetensors_writer.h"

#include <cstring>

#include "common/base/check.h"
#include "common/base/file.h"
#include "nlohmann/json.hpp"

namespace ilre {

absl::Status WriteSafetensors(const std::string& path, const std::vector<TensorToWrite>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  size_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    size_t size = 1;
    for (const int64_t dim : tensor.shape) size *= static_cast<size_t>(dim);
    ILRE_CHECK(size == tensor.data.size());
    const size_t end = offset + size * sizeof(float);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string json = header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');  // data starts aligned, as the format's own writer does it
  uint64_t json_size = json.size();
  std::string content(sizeof(json_size), '\0');
  std::memcpy(content.data(), &json_size, sizeof(json_size));
  content += json;
  content.reserve(content.size() + offset);
  for (const TensorToWrite& tensor : tensors) {
    content.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size() * sizeof(float));
  }
  return WriteFileAtomically(path, content);
}

}  // namespace ilre
