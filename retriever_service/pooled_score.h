// The score of a segment by a pooled head (common/retrieval/profile.h): the cosine between the question's vector and
// the sum of the vectors of the segment's parts.
#pragma once

#include <vector>

#include "common/store/records.h"

namespace ilre {

// Adds the vector of one part to sum [dim].
void AddPart(const BlockView& block, int head, int part, float* sum);

// query, sum: [dim]; query of length 1. 0 for a sum of zeros.
float PooledScore(const float* query, const float* sum, int dim);

}  // namespace ilre
