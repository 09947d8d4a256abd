// Angles of the rotary position embedding, as cosines and sines.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace ilre {

// Cosines and sines of places, [places, d / 2] each. frequencies: [d / 2] (RotaryFrequencies).
struct RotaryTable {
  std::vector<float> cosines, sines;

  RotaryTable() = default;
  RotaryTable(const std::vector<float>& frequencies, int64_t first, int64_t count) {
    cosines.reserve(static_cast<size_t>(count) * frequencies.size());
    sines.reserve(cosines.capacity());
    Append(frequencies, first, count);
  }
  // Places [first, first + count).
  void Append(const std::vector<float>& frequencies, int64_t first, int64_t count) {
    for (int64_t place = first; place < first + count; ++place) {
      for (const float frequency : frequencies) {
        const float angle = static_cast<float>(place) * frequency;
        cosines.push_back(std::cos(angle));
        sines.push_back(std::sin(angle));
      }
    }
  }
};

}  // namespace ilre
