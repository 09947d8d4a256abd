#include "common/kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "common/kernels/bf16.h"

namespace ilre::kernels::reference {

void Linear(const float* x, int64_t rows, const uint16_t* weight, int64_t out, int64_t in, const float* bias,
            float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < in; ++i) sum += static_cast<double>(x[r * in + i]) * FloatFromBf16(weight[o * in + i]);
      y[r * out + o] = static_cast<float>(sum + (bias != nullptr ? bias[o] : 0.0));
    }
  }
}

namespace {

// Rounds x [count] to int8. Returns the scale.
float RoundToInt8(const float* x, int64_t count, int* values) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<int>(std::nearbyint(x[i] * (127.0f / largest)));
  return largest / 127.0f;
}

}  // namespace

void Int8Linear(const float* x, int64_t rows, const float* weight, int64_t out, int64_t in, const float* bias,
                float* y) {
  constexpr int64_t kBlock = 64;
  std::vector<int> w(in), v(in);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      const float weight_scale = RoundToInt8(weight + o * in, in, w.data());
      float sum = 0;
      for (int64_t begin = 0; begin < in; begin += kBlock) {
        const int64_t count = std::min(kBlock, in - begin);
        const float scale = RoundToInt8(x + r * in + begin, count, v.data());
        int products = 0;
        for (int64_t i = 0; i < count; ++i) products += v[i] * w[begin + i];
        sum = std::fma(static_cast<float>(products), scale, sum);
      }
      y[r * out + o] = sum * weight_scale + bias[o];
    }
  }
}

void BandedAttention(const BandedAttentionArgs& args) {
  const int64_t d = args.head_dim;
  const int64_t q_stride = args.q_stride != 0 ? args.q_stride : args.num_heads * d;
  const int64_t k_stride = args.k_stride != 0 ? args.k_stride : args.num_kv_heads * d;
  const int64_t v_stride = args.v_stride != 0 ? args.v_stride : args.num_kv_heads * d;
  const int64_t out_stride = args.out_stride != 0 ? args.out_stride : args.num_heads * d;
  for (int64_t i = 0; i < args.num_queries; ++i) {
    for (int64_t h = 0; h < args.num_heads; ++h) {
      const int64_t kv_head = h / (args.num_heads / args.num_kv_heads);
      const int64_t place = args.num_past + i;
      std::vector<int64_t> seen;
      std::vector<double> scores;
      for (int64_t j = 0; j <= place; ++j) {
        if (j >= args.num_sinks && place - j >= args.window) continue;
        double dot = 0;
        for (int64_t c = 0; c < d; ++c) {
          dot += static_cast<double>(args.q[i * q_stride + h * d + c]) * args.k[j * k_stride + kv_head * d + c];
        }
        seen.push_back(j);
        scores.push_back(dot * args.scale);
      }
      const double greatest = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - greatest);
      for (int64_t c = 0; c < d; ++c) {
        double sum = 0;
        for (size_t s = 0; s < seen.size(); ++s) sum += scores[s] * args.v[seen[s] * v_stride + kv_head * d + c];
        args.out[i * out_stride + h * d + c] = static_cast<float>(sum / total);
      }
    }
  }
}

void RmsNorm(const float* x, int64_t rows, int64_t dim, const float* weight, float eps, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < dim; ++i) squares += static_cast<double>(x[r * dim + i]) * x[r * dim + i];
    const double factor = 1 / std::sqrt(squares / dim + eps);
    for (int64_t i = 0; i < dim; ++i) {
      out[r * dim + i] = static_cast<float>(x[r * dim + i] * factor * (weight != nullptr ? weight[i] : 1.0));
    }
  }
}

void Rope(float* x, int64_t rows, int64_t heads, int64_t dim, const float* cosines, const float* sines) {
  const int64_t half = dim / 2;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      float* head = x + (r * heads + h) * dim;
      for (int64_t i = 0; i < half; ++i) {
        const double a = head[i], b = head[i + half], c = cosines[r * half + i], s = sines[r * half + i];
        head[i] = static_cast<float>(a * c - b * s);
        head[i + half] = static_cast<float>(b * c + a * s);
      }
    }
  }
}

void SiluMul(const float* gate_up, int64_t rows, int64_t size, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < size; ++i) {
      const double gate = gate_up[r * 2 * size + i], up = gate_up[r * 2 * size + size + i];
      out[r * size + i] = static_cast<float>(gate / (1 + std::exp(-gate)) * up);
    }
  }
}

void GeluMul(const float* gate_up, int64_t rows, int64_t size, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < size; ++i) {
      const double gate = gate_up[r * 2 * size + i], up = gate_up[r * 2 * size + size + i];
      const double inner = std::sqrt(2 / std::numbers::pi) * (gate + 0.044715 * gate * gate * gate);
      out[r * size + i] = static_cast<float>(gate / 2 * (1 + std::tanh(inner)) * up);
    }
  }
}

void Softmax(float* x, int64_t count, float scale) {
  double greatest = -std::numeric_limits<double>::infinity(), total = 0;
  for (int64_t i = 0; i < count; ++i) greatest = std::max(greatest, static_cast<double>(x[i]) * scale);
  for (int64_t i = 0; i < count; ++i) total += std::exp(static_cast<double>(x[i]) * scale - greatest);
  for (int64_t i = 0; i < count; ++i) {
    x[i] = static_cast<float>(std::exp(static_cast<double>(x[i]) * scale - greatest) / total);
  }
}

void Dot(const float* keys, int num_tokens, int dim, const float* queries, int num_queries, float* out) {
  for (int t = 0; t < num_tokens; ++t) {
    for (int q = 0; q < num_queries; ++q) {
      double sum = 0;
      for (int i = 0; i < dim; ++i) sum += static_cast<double>(keys[t * dim + i]) * queries[q * dim + i];
      out[t * num_queries + q] = static_cast<float>(sum);
    }
  }
}

void SegmentMax(const float* dots, int num_tokens, int num_queries, const uint8_t* segment_bitmap, float* best) {
  for (int t = 0; t < num_tokens; ++t) {
    if (segment_bitmap[t / 8] >> (t % 8) & 1) best += num_queries;
    for (int q = 0; q < num_queries; ++q) best[q] = std::max(best[q], dots[t * num_queries + q]);
  }
}

}  // namespace ilre::kernels::reference
