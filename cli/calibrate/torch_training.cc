#include "cli/calibrate/torch_training.h"

#include <c10/core/GradMode.h>

#include <cmath>

namespace ilre::cli {

using at::Tensor;

Tensor InputRows(const TrainingPool& pool, int layer, int64_t first, int64_t count) {
  const uint16_t* rows = pool.inputs.at(layer).data() + first * pool.hidden_size;
  return at::from_blob(const_cast<uint16_t*>(rows), {count, pool.hidden_size}, at::kBFloat16).to(at::kFloat);
}

Tensor UnitRows(const Tensor& x) { return x / x.norm(2, {-1}, true).clamp_min(1e-12); }

Tensor MissedGold(const Tensor& log_probability, const std::vector<std::vector<int64_t>>& gold) {
  std::vector<Tensor> losses;
  for (size_t i = 0; i < gold.size(); ++i) {
    const Tensor columns = at::tensor(gold[i], at::kLong);
    losses.push_back(-at::logsumexp(log_probability[static_cast<int64_t>(i)].index_select(0, columns), {0}));
  }
  return at::stack(losses).mean();
}

std::vector<float> Floats(const Tensor& tensor) {
  const Tensor plain = tensor.detach().to(at::kFloat).contiguous();
  return std::vector<float>(plain.const_data_ptr<float>(), plain.const_data_ptr<float>() + plain.numel());
}

std::vector<float> RoundedFloats(const Tensor& tensor) { return Floats(tensor.detach().to(at::kBFloat16)); }

AdamW::AdamW(std::vector<Parameter> parameters, double decay) : parameters_(std::move(parameters)), decay_(decay) {
  for (const Parameter& parameter : parameters_) {
    first_.push_back(at::zeros_like(*parameter.tensor));
    second_.push_back(at::zeros_like(*parameter.tensor));
  }
}

void AdamW::Step(double schedule) {
  constexpr double kBeta1 = 0.9, kBeta2 = 0.98;
  const c10::NoGradGuard no_gradients;
  ++steps_;
  const double correct_first = 1 - std::pow(kBeta1, steps_), correct_second = 1 - std::pow(kBeta2, steps_);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = *parameters_[i].tensor;
    const double rate = parameters_[i].rate * schedule;
    const Tensor gradient = parameter.grad();
    first_[i].mul_(kBeta1).add_(gradient, 1 - kBeta1);
    second_[i].mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
    if (decay_ > 0) parameter.mul_(1 - rate * decay_);
    parameter.sub_(rate * (first_[i] / correct_first) / ((second_[i] / correct_second).sqrt() + 1e-8));
    parameter.mutable_grad().reset();
  }
}

}  // namespace ilre::cli
