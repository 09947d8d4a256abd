// The tensors that a model of given sizes consists of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model/model_config.h"

namespace ilre {

struct NamedShape {
  std::string name;            // as in Hugging Face's Llama code
  std::vector<int64_t> shape;  // outermost dimension first
};

// All of them, embedding first, then layer by layer, then the final norm and, unless it is tied, the output projection.
// `config` must be valid.
std::vector<NamedShape> TensorsOf(const ModelConfig& config);

}  // namespace ilre
