#include "cli/calibrate/probe_trainer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/random.h"

namespace ilre::cli {
namespace {

using at::Tensor;

struct Probe {
  Tensor query, key;  // [dim, D]
  Tensor gate;        // [D]
  Tensor gate_bias;   // []
  std::vector<Tensor*> All() { return {&query, &key, &gate, &gate_bias}; }
};

// One step's questions, and the segments among which they must find theirs.
struct Batch {
  Tensor tokens;   // [n, D] of the chosen segments
  Tensor segment;  // [n] number of each token's segment, among the chosen
  int64_t num_segments = 0;
  Tensor questions;                        // [q, D] tokens of all questions
  Tensor owner;                            // [q] which question each belongs to
  std::vector<std::vector<int64_t>> gold;  // [questions]: chosen segments that hold the answer
};

Tensor Rows(const std::vector<float>& values, int64_t first, int64_t count, int64_t width) {
  return at::from_blob(const_cast<float*>(values.data()) + first * width, {count, width}, at::kFloat);
}

Batch DrawBatch(const TrainingPool& pool, const ProbeTrainingOptions& options, Random& random) {
  std::vector<size_t> order(pool.questions.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  random.Shuffle(order);
  order.resize(std::min<size_t>(order.size(), static_cast<size_t>(options.batch)));
  std::set<int64_t> chosen;
  for (const size_t i : order) {
    for (const int64_t gold : pool.questions[i].gold) {
      for (const int64_t near :
           {gold - 1, gold, gold + 1}) {  // neighbours share the subject: the hardest to tell apart
        if (near >= 0 && near < pool.num_segments()) chosen.insert(near);
      }
    }
  }
  for (int i = 0; i < options.negatives; ++i) chosen.insert(static_cast<int64_t>(random.Below(pool.num_segments())));

  Batch batch;
  std::vector<Tensor> tokens, questions;
  std::vector<int64_t> segment, owner;
  std::vector<int64_t> place(static_cast<size_t>(pool.num_segments()), -1);
  for (const int64_t s : chosen) {
    const int64_t begin = pool.segment_begins[s], count = pool.segment_begins[s + 1] - begin;
    place[s] = batch.num_segments;
    tokens.push_back(Rows(pool.states, begin, count, pool.hidden_size));
    segment.insert(segment.end(), static_cast<size_t>(count), batch.num_segments++);
  }
  for (size_t i = 0; i < order.size(); ++i) {
    const PoolQuestion& question = pool.questions[order[i]];
    const int64_t count = static_cast<int64_t>(question.states.size()) / pool.hidden_size;
    questions.push_back(Rows(question.states, 0, count, pool.hidden_size));
    owner.insert(owner.end(), static_cast<size_t>(count), static_cast<int64_t>(i));
    std::vector<int64_t>& gold = batch.gold.emplace_back();
    for (const int64_t s : question.gold) gold.push_back(place[s]);
  }
  batch.tokens = at::cat(tokens, 0);
  batch.questions = at::cat(questions, 0);
  batch.segment = at::tensor(segment, at::kLong);
  batch.owner = at::tensor(owner, at::kLong);
  return batch;
}

Tensor Normalize(const Tensor& x) { return x / x.norm(2, {-1}, true).clamp_min(1e-12); }

// Mean over questions of -log(probability of the gold segments).
Tensor Loss(const Probe& probe, const Batch& batch, const ProbeTrainingOptions& options) {
  const Tensor keys = Normalize(at::linear(at::dropout(batch.tokens, options.dropout, true), probe.key));
  const Tensor input = at::dropout(batch.questions, options.dropout, true);
  const Tensor similarity = at::matmul(Normalize(at::linear(input, probe.query)), keys.t());  // [q, n]
  const Tensor best = at::full({input.size(0), batch.num_segments}, -1e4f)
                          .scatter_reduce(1, batch.segment.expand_as(similarity), similarity, "amax");
  const Tensor weight = at::softplus(at::mv(input, probe.gate) + probe.gate_bias).unsqueeze(1);
  const int64_t num_questions = static_cast<int64_t>(batch.gold.size());
  const Tensor scores =
      at::zeros({num_questions, batch.num_segments}).index_add(0, batch.owner, best * weight) * options.temperature;
  const Tensor log_probability = at::log_softmax(scores, 1);
  std::vector<Tensor> losses;
  for (int64_t i = 0; i < num_questions; ++i) {
    losses.push_back(-at::logsumexp(log_probability[i].index_select(0, at::tensor(batch.gold[i], at::kLong)), {0}));
  }
  return at::stack(losses).mean();
}

class AdamW {
 public:
  explicit AdamW(std::vector<std::pair<Tensor*, float>> parameters) : parameters_(std::move(parameters)) {
    for (auto& [parameter, rate] : parameters_) {
      first_.push_back(at::zeros_like(*parameter));
      second_.push_back(at::zeros_like(*parameter));
    }
  }

  // Changes every parameter by its gradient, which is then cleared. `schedule` scales the learning rates.
  void Step(float schedule) {
    const c10::NoGradGuard no_gradients;
    ++steps_;
    const double correct_first = 1 - std::pow(kBeta1, steps_), correct_second = 1 - std::pow(kBeta2, steps_);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      auto& [parameter, rate] = parameters_[i];
      const Tensor gradient = parameter->grad();
      first_[i].mul_(kBeta1).add_(gradient, 1 - kBeta1);
      second_[i].mul_(kBeta2).addcmul_(gradient, gradient, 1 - kBeta2);
      parameter->sub_(rate * schedule * (first_[i] / correct_first) / ((second_[i] / correct_second).sqrt() + 1e-8));
      parameter->mutable_grad().reset();
    }
  }

 private:
  static constexpr double kBeta1 = 0.9, kBeta2 = 0.98;  // no weight decay: the probe is small and training short
  std::vector<std::pair<Tensor*, float>> parameters_;
  std::vector<Tensor> first_, second_;
  int steps_ = 0;
};

std::vector<float> RoundedFloats(const Tensor& tensor) {
  const Tensor rounded = tensor.detach().to(at::kBFloat16).to(at::kFloat).contiguous();
  return std::vector<float>(rounded.const_data_ptr<float>(), rounded.const_data_ptr<float>() + rounded.numel());
}

RetrievalHead Train(const std::vector<WeightedPool>& pools, int layer, const ProbeTrainingOptions& options,
                    const std::function<void(int, double)>& report) {
  constexpr int kWarmUpSteps = 20;
  Random random(options.seed);
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  generator.set_current_seed(options.seed);  // of the initial matrix and of dropout
  const int64_t hidden = pools[0].choices[0]->hidden_size;
  Probe probe;
  probe.query = at::randn({options.dim, hidden}) / std::sqrt(static_cast<double>(hidden));
  probe.key = probe.query.clone();
  probe.gate = at::zeros({hidden});
  probe.gate_bias = at::scalar_tensor(0.5413f);  // softplus gives 1: every token counts alike at first
  for (Tensor* parameter : probe.All()) parameter->set_requires_grad(true);
  AdamW optimizer({{&probe.query, options.learning_rate},
                   {&probe.key, options.learning_rate},
                   {&probe.gate, options.gate_learning_rate},
                   {&probe.gate_bias, options.gate_learning_rate}});
  for (int step = 0; step < options.steps; ++step) {
    Tensor loss;
    for (const WeightedPool& pool : pools) {
      const TrainingPool& drawn = *random.Pick(pool.choices);
      const Tensor part = Loss(probe, DrawBatch(drawn, options, random), options) * pool.weight;
      loss = loss.defined() ? loss + part : part;
    }
    loss.backward();
    const double progress = static_cast<double>(step) / options.steps;
    optimizer.Step(
        static_cast<float>(std::min(1.0, (step + 1.0) / kWarmUpSteps) * (0.5 + 0.5 * std::cos(M_PI * progress))));
    if (report) report(step, loss.item<double>());
  }
  RetrievalHead head;
  head.kind = RetrievalHead::Kind::kProbe;
  head.layer = layer;
  head.dim = options.dim;
  head.key_projection = RoundedFloats(probe.key);
  head.query_projection = RoundedFloats(probe.query);
  head.gate = RoundedFloats(probe.gate);
  head.gate_bias = probe.gate_bias.item<float>();
  return head;
}

absl::StatusOr<RetrievalHead> TrainOrError(const std::vector<WeightedPool>& pools, int layer,
                                           const ProbeTrainingOptions& options,
                                           const std::function<void(int step, double loss)>& report) {
  for (const WeightedPool& pool : pools) {
    for (const TrainingPool* choice : pool.choices) {
      if (choice->questions.empty()) return errors::InvalidArgument("a training text has no questions");
    }
  }
  try {
    return Train(pools, layer, options, report);
  } catch (const std::exception& error) {  // libtorch reports errors so
    return MakeError(absl::StatusCode::kInternal, "TORCH", absl::StrCat("training: ", error.what()));
  }
}

}  // namespace
}  // namespace ilre::cli

extern "C" void IlreTrainProbe(const std::vector<ilre::cli::WeightedPool>* pools, int layer,
                               const ilre::cli::ProbeTrainingOptions* options,
                               const std::function<void(int step, double loss)>* report,
                               absl::StatusOr<ilre::RetrievalHead>* head) {
  *head = ilre::cli::TrainOrError(*pools, layer, *options, *report);
}
