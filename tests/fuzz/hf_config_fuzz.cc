// A config.json of any bytes: an error or a configuration that is valid.

#include <cstddef>
#include <cstdint>

#include "absl/strings/match.h"
#include "common/base/check.h"
#include "common/model/hf_config.h"
#include "common/model/model_tensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = ilre::ModelConfigFromHfJson("config.json", text);
  if (config.ok()) {
    ILRE_CHECK(config->Validate().ok());
    ILRE_CHECK(!ilre::TensorsOf(*config).empty());
  } else {
    ILRE_CHECK(absl::StrContains(config.status().message(), "config.json"));
  }
  return 0;
}
