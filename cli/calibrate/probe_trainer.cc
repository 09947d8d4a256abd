#include "cli/calibrate/probe_trainer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "cli/calibrate/torch_training.h"
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

// Segments among which questions must find theirs.
struct Segments {
  Tensor keys;   // [n, dim] of the tokens, each of length one
  Tensor owner;  // [n] number of each token's segment
  int64_t count = 0;
};

// Questions, and which of some segments hold their answers.
struct Questions {
  Tensor tokens;                           // [q, D] of all of them
  Tensor owner;                            // [q] which question each belongs to
  std::vector<std::vector<int64_t>> gold;  // [questions]
};

Questions TakeQuestions(const TrainingPool& pool, int layer, const std::vector<size_t>& which) {
  Questions questions;
  std::vector<Tensor> tokens;
  std::vector<int64_t> owner;
  for (size_t i = 0; i < which.size(); ++i) {
    const int64_t begin = pool.question_begins[which[i]], count = pool.question_begins[which[i] + 1] - begin;
    tokens.push_back(InputRows(pool, layer, begin, count));
    owner.insert(owner.end(), static_cast<size_t>(count), static_cast<int64_t>(i));
    questions.gold.push_back(pool.gold[which[i]]);
  }
  questions.tokens = at::cat(tokens, 0);
  questions.owner = at::tensor(owner, at::kLong);
  return questions;
}

// Some questions of the pool; the segments that hold their answers and others, as inputs [n, D] and their owners.
struct Batch {
  Tensor tokens, owner;
  int64_t num_segments = 0;
  Questions questions;
};

Batch DrawBatch(const TrainingPool& pool, int layer, const ProbeTrainingOptions& options, Random& random) {
  std::vector<size_t> order(pool.gold.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  random.Shuffle(order);
  order.resize(std::min<size_t>(order.size(), static_cast<size_t>(options.batch)));
  std::set<int64_t> chosen;
  for (const size_t i : order) {
    for (const int64_t gold : pool.gold[i]) {
      for (const int64_t near :
           {gold - 1, gold, gold + 1}) {  // neighbours share the subject: the hardest to tell apart
        if (near >= 0 && near < pool.num_segments()) chosen.insert(near);
      }
    }
  }
  for (int i = 0; i < options.negatives; ++i) chosen.insert(static_cast<int64_t>(random.Below(pool.num_segments())));

  Batch batch;
  std::vector<Tensor> tokens;
  std::vector<int64_t> owner;
  std::vector<int64_t> place(static_cast<size_t>(pool.num_segments()), -1);
  for (const int64_t segment : chosen) {
    const int64_t begin = pool.segment_begins[segment], count = pool.segment_begins[segment + 1] - begin;
    place[segment] = batch.num_segments;
    tokens.push_back(InputRows(pool, layer, begin, count));
    owner.insert(owner.end(), static_cast<size_t>(count), batch.num_segments++);
  }
  batch.tokens = at::cat(tokens, 0);
  batch.owner = at::tensor(owner, at::kLong);
  batch.questions = TakeQuestions(pool, layer, order);
  for (std::vector<int64_t>& gold : batch.questions.gold) {
    for (int64_t& segment : gold) segment = place[segment];
  }
  return batch;
}

// -> [questions, segments]
Tensor Scores(const Probe& probe, const Segments& segments, const Questions& questions, double dropout) {
  const Tensor input = at::dropout(questions.tokens, dropout, /*train=*/dropout > 0);
  const Tensor similarity = at::matmul(UnitRows(at::linear(input, probe.query)), segments.keys.t());  // [q, n]
  const Tensor best = at::full({input.size(0), segments.count}, -1e4f)
                          .scatter_reduce(1, segments.owner.expand_as(similarity), similarity, "amax");
  const Tensor weight = at::softplus(at::mv(input, probe.gate) + probe.gate_bias).unsqueeze(1);
  const int64_t count = static_cast<int64_t>(questions.gold.size());
  return at::zeros({count, segments.count}).index_add(0, questions.owner, best * weight);
}

Tensor Loss(const Probe& probe, const Batch& batch, const ProbeTrainingOptions& options) {
  const Tensor keys = UnitRows(at::linear(at::dropout(batch.tokens, options.dropout, true), probe.key));
  const Tensor scores = Scores(probe, {keys, batch.owner, batch.num_segments}, batch.questions, options.dropout);
  return MissedGold(at::log_softmax(scores * options.temperature, 1), batch.questions.gold);
}

// A few questions at a time among all segments of the pool: memory is that of their scores of every token.
TrainingState Evaluate(const Probe& probe, const TrainingPool& pool, int layer, const ProbeTrainingOptions& options) {
  constexpr size_t kQuestions = 16;
  const c10::NoGradGuard no_gradients;
  Segments segments;
  segments.count = pool.num_segments();
  const int64_t tokens = pool.segment_begins.back();
  segments.keys = UnitRows(at::linear(InputRows(pool, layer, 0, tokens), probe.key));
  std::vector<int64_t> owner;
  for (int64_t i = 0; i < segments.count; ++i) {
    owner.insert(owner.end(), static_cast<size_t>(pool.segment_begins[i + 1] - pool.segment_begins[i]), i);
  }
  segments.owner = at::tensor(owner, at::kLong);
  TrainingState state;
  for (size_t first = 0; first < pool.gold.size(); first += kQuestions) {
    std::vector<size_t> which;
    for (size_t i = first; i < std::min(pool.gold.size(), first + kQuestions); ++i) which.push_back(i);
    const Questions questions = TakeQuestions(pool, layer, which);
    const Tensor scores = Scores(probe, segments, questions, 0);
    const double missed = MissedGold(at::log_softmax(scores * options.temperature, 1), questions.gold).item<double>();
    state.held_out_loss += missed * static_cast<double>(which.size()) / static_cast<double>(pool.gold.size());
    const std::vector<float> some = Floats(scores);
    state.scores.insert(state.scores.end(), some.begin(), some.end());
  }
  return state;
}

Probe UntrainedProbe(int64_t dim, int64_t hidden, uint64_t seed) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  generator.set_current_seed(seed);  // of the initial matrix and of dropout
  Probe probe;
  probe.query = at::randn({dim, hidden}) / std::sqrt(static_cast<double>(hidden));
  probe.key = probe.query.clone();
  probe.gate = at::zeros({hidden});
  probe.gate_bias = at::scalar_tensor(0.5413f);  // softplus gives 1: every token counts alike at first
  for (Tensor* parameter : probe.All()) parameter->set_requires_grad(true);
  return probe;
}

RetrievalHead Train(const std::vector<WeightedPool>& pools, const TrainingPool& held_out, int layer,
                    const ProbeTrainingOptions& options, const TrainingObserver& observe) {
  constexpr int kWarmUpSteps = 20;
  Random random(options.seed);
  Probe probe = UntrainedProbe(options.dim, held_out.hidden_size, options.seed);
  AdamW optimizer({{&probe.query, options.learning_rate},
                   {&probe.key, options.learning_rate},
                   {&probe.gate, options.gate_learning_rate},
                   {&probe.gate_bias, options.gate_learning_rate}},
                  /*decay=*/0);  // the probe is small and training short
  double last_loss = 0;
  for (int step = 0; step <= options.steps; ++step) {
    if (step % options.steps_a_point == 0 || step == options.steps) {
      TrainingState state = Evaluate(probe, held_out, layer, options);
      state.step = step;
      state.loss = last_loss;
      if (!observe(state)) break;
    }
    if (step == options.steps) break;
    Tensor loss;
    for (const WeightedPool& pool : pools) {
      const TrainingPool& drawn = *random.Pick(pool.choices);
      const Tensor part = Loss(probe, DrawBatch(drawn, layer, options, random), options) * pool.weight;
      loss = loss.defined() ? loss + part : part;
    }
    loss.backward();
    const double progress = static_cast<double>(step) / options.steps;
    optimizer.Step(std::min(1.0, (step + 1.0) / kWarmUpSteps) * (0.5 + 0.5 * std::cos(M_PI * progress)));
    last_loss = loss.item<double>();
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

}  // namespace
}  // namespace ilre::cli

extern "C" void IlreTrainProbe(const std::vector<ilre::cli::WeightedPool>* pools,
                               const ilre::cli::TrainingPool* held_out, int layer,
                               const ilre::cli::ProbeTrainingOptions* options,
                               const ilre::cli::TrainingObserver* observe, absl::StatusOr<ilre::RetrievalHead>* head) {
  *head = ilre::cli::WithoutThrowing<ilre::RetrievalHead>(
      [&] { return ilre::cli::Train(*pools, *held_out, layer, *options, *observe); });
}
