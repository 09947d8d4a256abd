// A GGUF file of any bytes, opened as a model; where that succeeds, every tensor is read.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "common/base/check.h"
#include "common/model/dequantize.h"
#include "common/model/gguf_checkpoint.h"
#include "common/model/gguf_file.h"
#include "common/model/model_tensors.h"

namespace {

void DequantizeAll(const ilre::GgufFile& file) {
  for (const ilre::GgufTensor& tensor : file.tensors()) {
    const ilre::GgmlTypeInfo& info = ilre::GgmlTypeInfoOf(tensor.type);
    const size_t num_elements = tensor.bytes.size() / info.block_bytes * info.block_elements;
    std::vector<float> values(num_elements);
    std::vector<uint16_t> rounded(num_elements);
    ilre::Dequantize(tensor.type, tensor.bytes, absl::MakeSpan(values));
    ilre::DequantizeToBf16(tensor.type, tensor.bytes, absl::MakeSpan(rounded));
  }
}

// What a valid model promises: its tensors are there in their shapes. Values may still not be finite.
void ReadAll(const ilre::Checkpoint& checkpoint) {
  ILRE_CHECK(checkpoint.config().Validate().ok());
  for (const ilre::NamedShape& tensor : ilre::TensorsOf(checkpoint.config())) {
    int64_t num_elements = 1;
    for (int64_t size : tensor.shape) num_elements *= size;
    std::vector<float> values(num_elements);
    const absl::Status read = checkpoint.ReadTensor(tensor.name, tensor.shape, absl::MakeSpan(values));
    ILRE_CHECK(!read.ok() || ilre::AllFinite(values));
    ILRE_CHECK(read.ok() || absl::StrContains(read.message(), "not finite"));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto file = ilre::GgufFile::Parse("fuzz.gguf", bytes);
  if (!file.ok()) return 0;
  DequantizeAll(**file);
  auto checkpoint = ilre::MakeGgufCheckpoint(*std::move(file));
  if (checkpoint.ok()) ReadAll(**checkpoint);
  return 0;
}
