// A safetensors file of any bytes; where it is accepted, its tensors are read and fill the file.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/base/check.h"
#include "common/model/dequantize.h"
#include "common/model/safetensors_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto file = ilre::SafetensorsFile::Parse("fuzz.safetensors", bytes);
  if (!file.ok()) return 0;
  size_t total = 0;
  for (const ilre::SafetensorsTensor& tensor : (*file)->tensors()) {
    total += tensor.bytes.size();
    const auto type = ilre::ReadableType(tensor.dtype);
    if (!type.has_value()) continue;
    std::vector<float> values(tensor.bytes.size() / ilre::GgmlTypeInfoOf(*type).block_bytes);
    ilre::Dequantize(*type, tensor.bytes, absl::MakeSpan(values));
    ILRE_CHECK((*file)->FindTensor(tensor.name) == &tensor);
  }
  ILRE_CHECK(total < size);
  return 0;
}
