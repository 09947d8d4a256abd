// What the trainers of all kinds of heads share: tensors over pools, AdamW, and libtorch's errors. Part of
// libilre_torch.so.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "cli/calibrate/training_pool.h"
#include "common/base/errors.h"

namespace ilre::cli {

// Some rows of a layer's inputs: [count, D], float.
at::Tensor InputRows(const TrainingPool& pool, int layer, int64_t first, int64_t count);

// Each row of length one.
at::Tensor UnitRows(const at::Tensor& x);

// The mean over questions of -log(probability of those that answer them). log_probability: [questions, n]; gold: for
// each question columns, at least one.
at::Tensor MissedGold(const at::Tensor& log_probability, const std::vector<std::vector<int64_t>>& gold);

// The numbers as bf16 has them, which is what heads are computed with later.
std::vector<float> RoundedFloats(const at::Tensor& tensor);
std::vector<float> Floats(const at::Tensor& tensor);

// AdamW (Loshchilov and Hutter, 2019).
class AdamW {
 public:
  struct Parameter {
    at::Tensor* tensor;
    float rate;
  };
  AdamW(std::vector<Parameter> parameters, double decay);

  // Changes every parameter by its gradient, which is then cleared. `schedule` scales the learning rates.
  void Step(double schedule);

 private:
  std::vector<Parameter> parameters_;
  double decay_;
  std::vector<at::Tensor> first_, second_;
  int steps_ = 0;
};

// train(), and what libtorch throws as a status.
template <typename Result, typename Function>
absl::StatusOr<Result> WithoutThrowing(Function train) {
  try {
    return train();
  } catch (const std::exception& error) {
    return MakeError(absl::StatusCode::kInternal, "TORCH", absl::StrCat("training: ", error.what()));
  }
}

}  // namespace ilre::cli
