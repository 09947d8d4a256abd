#include "retriever_service/pooled_score.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/kernels/elementwise.h"

namespace ilre {

void AddPart(const BlockView& block, int head, int part, float* sum) {
  const HeadFormat& format = block.heads()[static_cast<size_t>(head)];
  const size_t dim = format.dim;
  const char* bytes = block.vectors(head).data();
  if (format.type == VectorType::kInt8) {
    const float scale = block.scale(head, part);
    bytes += static_cast<size_t>(part) * dim;
    for (size_t i = 0; i < dim; ++i) sum[i] += scale * static_cast<float>(static_cast<int8_t>(bytes[i]));
    return;
  }
  bytes += static_cast<size_t>(part) * dim * sizeof(uint16_t);
  for (size_t i = 0; i < dim; ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + i * sizeof(bits), sizeof(bits));
    sum[i] += std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
}

float PooledScore(const float* query, const float* sum, int dim) {
  const float score = kernels::InnerProduct(query, sum, dim) / std::sqrt(kernels::InnerProduct(sum, sum, dim));
  return std::isfinite(score) ? score : 0;  // no vector, or one from a store that means ill
}

}  // namespace ilre
