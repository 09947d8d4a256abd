#include "cli/calibrate/pooled_trainer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <set>
#include <utility>

#include "cli/calibrate/torch_training.h"
#include "common/base/random.h"

namespace ilre::cli {
namespace {

using at::Tensor;

// Consecutive rows of a pool's inputs: a segment's tokens or a question's.
struct Rows {
  const TrainingPool* pool;
  int64_t begin, count;
};

// Segments or questions with the teacher's vectors.
struct Taught {
  std::vector<Rows> rows;
  Tensor vectors;  // [rows, dim]
};

Rows SegmentRows(const TrainingPool& pool, int64_t segment) {
  return {&pool, pool.segment_begins[segment], pool.segment_begins[segment + 1] - pool.segment_begins[segment]};
}
Rows QuestionRows(const TrainingPool& pool, int64_t question) {
  return {&pool, pool.question_begins[question], pool.question_begins[question + 1] - pool.question_begins[question]};
}

Taught TaughtRows(const std::vector<const TaughtPool*>& pools, int64_t dim, bool questions) {
  Taught taught;
  std::vector<Tensor> vectors = {at::zeros({0, dim})};
  for (const TaughtPool* pool : pools) {
    for (const int64_t i : questions ? pool->questions : pool->segments) {
      taught.rows.push_back(questions ? QuestionRows(*pool->pool, i) : SegmentRows(*pool->pool, i));
    }
    const std::vector<float>& numbers = questions ? pool->question_vectors : pool->segment_vectors;
    const int64_t count = static_cast<int64_t>(numbers.size()) / dim;
    vectors.push_back(at::from_blob(const_cast<float*>(numbers.data()), {count, dim}, at::kFloat));
  }
  taught.vectors = at::cat(vectors, 0);
  return taught;
}

// For each question that the teacher read, those of the segments it read that hold the answer, by their places there.
std::vector<std::vector<int64_t>> TaughtGold(const TaughtPool& taught) {
  std::vector<std::vector<int64_t>> gold;
  for (const int64_t question : taught.questions) {
    std::vector<int64_t>& places = gold.emplace_back();
    for (const int64_t segment : taught.pool->gold[question]) {
      const auto place = std::lower_bound(taught.segments.begin(), taught.segments.end(), segment);
      if (place != taught.segments.end() && *place == segment) places.push_back(place - taught.segments.begin());
    }
  }
  return gold;
}

// softplus(g h + c): how much a token counts in the mean.
struct Gate {
  Tensor weight, bias;  // [width], []
  explicit Gate(int64_t width) : weight(at::zeros({width})), bias(at::scalar_tensor(0.5413f)) {
    weight.set_requires_grad(true);
    bias.set_requires_grad(true);
  }
};

// Inputs of a layer, and of several side by side. -> [tokens of all, width]
Tensor States(const std::vector<Rows>& rows, const std::vector<int>& layers) {
  std::vector<Tensor> side_by_side;
  for (const int layer : layers) {
    std::vector<Tensor> parts;
    for (const Rows& one : rows) parts.push_back(InputRows(*one.pool, layer, one.begin, one.count));
    side_by_side.push_back(at::cat(parts, 0));
  }
  return at::cat(side_by_side, 1);
}

// -> [rows, width]
Tensor Means(const Gate& gate, const std::vector<Rows>& rows, const std::vector<int>& layers, double dropout) {
  std::vector<int64_t> owner;
  for (size_t i = 0; i < rows.size(); ++i) {
    owner.insert(owner.end(), static_cast<size_t>(rows[i].count), static_cast<int64_t>(i));
  }
  const Tensor owners = at::tensor(owner, at::kLong);
  const Tensor states = at::dropout(States(rows, layers), dropout, /*train=*/dropout > 0);
  const Tensor weight = at::softplus(at::mv(states, gate.weight) + gate.bias);
  const int64_t count = static_cast<int64_t>(rows.size());
  const Tensor total = at::zeros({count}).index_add(0, owners, weight);
  const Tensor sums = at::zeros({count, states.size(1)}).index_add(0, owners, states * weight.unsqueeze(1));
  return sums / total.unsqueeze(1);
}

constexpr size_t kChunk = 256;  // rows whose tokens are in memory at once

std::vector<Rows> Chunk(const std::vector<Rows>& rows, size_t first) {
  const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(std::min(kChunk, rows.size() - first))};
}

Tensor MeansOfAll(const Gate& gate, const std::vector<Rows>& rows, const std::vector<int>& layers) {
  std::vector<Tensor> means;
  for (size_t first = 0; first < rows.size(); first += kChunk) {
    means.push_back(Means(gate, Chunk(rows, first), layers, 0));
  }
  return at::cat(means, 0);
}

// Linear regression from means to the teacher's vectors.
class Ridge {
 public:
  Ridge(int64_t width, int64_t dim, double ridge) : inner_(ridge * at::eye(width)), outer_(at::zeros({width, dim})) {}
  void Add(const Gate& gate, const Taught& taught, const std::vector<int>& layers, double weight) {
    for (size_t first = 0; first < taught.rows.size(); first += kChunk) {
      const std::vector<Rows> rows = Chunk(taught.rows, first);
      const Tensor means = Means(gate, rows, layers, 0);
      inner_.addmm_(means.t(), means, 1, weight);
      const auto from = static_cast<int64_t>(first);
      outer_.addmm_(means.t(), taught.vectors.slice(0, from, from + static_cast<int64_t>(rows.size())), 1, weight);
    }
  }
  Tensor Solve() const { return at::linalg_solve(inner_, outer_).t().contiguous(); }  // [dim, width]

 private:
  Tensor inner_, outer_;
};

class Trainer {
 public:
  Trainer(const PooledTrainingData& data, const std::vector<int>& layers, const PooledTrainingOptions& options)
      : data_(data),
        layers_(layers),
        options_(options),
        width_(data.labelled.pool->hidden_size * static_cast<int64_t>(layers.size())),
        key_gate_(width_),
        query_gate_(width_),
        random_(options.seed) {
    at::Generator generator = at::detail::getDefaultCPUGenerator();
    generator.set_current_seed(options.seed);  // of dropout
    const int64_t dim = data.labelled.dim;
    std::vector<const TaughtPool*> others;
    for (const TaughtPool& other : data.others) others.push_back(&other);
    segments_ = TaughtRows({&data.labelled}, dim, false);
    questions_ = TaughtRows({&data.labelled}, dim, true);
    others_ = TaughtRows(others, dim, false);
    asked_ = TaughtRows(others, dim, true);
    held_segments_ = TaughtRows({&data.held_out}, dim, false);
    held_questions_ = TaughtRows({&data.held_out}, dim, true);
    TurnVectors(dim);
    for (size_t i = 0; i < others_.rows.size(); i += 4) others_as_questions_.rows.push_back(others_.rows[i]);
    others_as_questions_.vectors = others_.vectors.slice(0, 0, others_.vectors.size(0), 4);
    gold_ = TaughtGold(data.labelled);
    for (size_t i = 0; i < gold_.size(); ++i) {
      if (!gold_[i].empty()) answered_.push_back(static_cast<int64_t>(i));
    }
    held_gold_ = TaughtGold(data.held_out);
  }

  RetrievalHead Train(const TrainingObserver& observe) {
    Tensor keys, queries;
    FindProjections();
    keys = keys_.clone();
    queries = queries_.clone();
    const std::vector<Tensor*> gates = {&key_gate_.weight, &key_gate_.bias, &query_gate_.weight, &query_gate_.bias};
    std::vector<AdamW::Parameter> parameters = {{&keys, options_.learning_rate}, {&queries, options_.learning_rate}};
    for (Tensor* gate : gates) parameters.push_back({gate, options_.gate_learning_rate});
    for (Tensor* projection : {&keys, &queries}) projection->set_requires_grad(true);
    AdamW optimizer(std::move(parameters), options_.decay);
    double last_loss = 0;
    for (int step = 0; step <= options_.steps; ++step) {
      if (step % options_.steps_a_point == 0 || step == options_.steps) {
        if (step > 0) FindProjections();
        TrainingState state = Evaluate();
        state.step = step;
        state.loss = last_loss;
        if (!observe(state) || step == options_.steps) break;
      }
      const Tensor loss = BatchLoss(keys, queries);
      loss.backward();
      optimizer.Step(std::max(0.05, 1 - static_cast<double>(step) / options_.steps));
      last_loss = loss.item<double>();
    }
    return Head();
  }

 private:
  // To their principal axes, as many as the head has dimensions.
  void TurnVectors(int64_t dim) {
    const std::vector<Taught*> all = {&segments_, &questions_, &others_, &asked_, &held_segments_, &held_questions_};
    Tensor inner = at::zeros({dim, dim});
    for (size_t i = 0; i < 4; ++i) inner += at::mm(all[i]->vectors.t(), all[i]->vectors);  // what is learned from
    const Tensor axes = std::get<1>(at::linalg_eigh(inner)).flip({1}).slice(1, 0, options_.dim);
    for (Taught* taught : all) taught->vectors = at::mm(taught->vectors, axes);
  }

  void FindProjections() {
    const c10::NoGradGuard no_gradients;
    Ridge keys(width_, options_.dim, options_.ridge), queries(width_, options_.dim, options_.ridge);
    keys.Add(key_gate_, segments_, layers_, 1);
    keys.Add(key_gate_, others_, layers_, 1);
    queries.Add(query_gate_, questions_, layers_, 1);
    queries.Add(query_gate_, asked_, layers_, 1);
    queries.Add(query_gate_, others_as_questions_, layers_, 0.25);  // sentences are not quite questions
    keys_ = keys.Solve();
    queries_ = queries.Solve();
  }

  // gold: for each of the first queries, columns among the keys, or nothing.
  Tensor LossOf(const Tensor& keys, const Tensor& wanted_keys, const Tensor& queries, const Tensor& wanted_queries,
                const std::vector<std::vector<int64_t>>& gold) const {
    const Tensor k = UnitRows(keys), wk = UnitRows(wanted_keys), q = UnitRows(queries), wq = UnitRows(wanted_queries);
    const Tensor cosine = (1 - (k * wk).sum(1)).mean() + (1 - (q * wq).sum(1)).mean();
    const Tensor scores = at::log_softmax(at::mm(q, k.t()) / options_.temperature, 1);
    const Tensor wanted = at::log_softmax(at::mm(wq, wk.t()) / options_.temperature, 1);
    const Tensor divergence = (wanted.exp() * (wanted - scores)).sum() / static_cast<double>(q.size(0));
    std::vector<int64_t> answered;
    std::vector<std::vector<int64_t>> columns;
    for (size_t i = 0; i < gold.size(); ++i) {
      if (gold[i].empty()) continue;
      answered.push_back(static_cast<int64_t>(i));
      columns.push_back(gold[i]);
    }
    if (answered.empty()) return cosine + divergence;
    const Tensor missed = MissedGold(scores.index_select(0, at::tensor(answered, at::kLong)), columns);
    return cosine + divergence + options_.supervised * missed;
  }

  // Rows of `from`, and their vectors, are added to those of a batch.
  static void Take(const Taught& from, const std::vector<int64_t>& which, std::vector<Rows>* rows,
                   std::vector<Tensor>* vectors) {
    for (const int64_t i : which) rows->push_back(from.rows[i]);
    vectors->push_back(from.vectors.index_select(0, at::tensor(which, at::kLong)));
  }

  std::vector<int64_t> Some(const std::vector<int64_t>& of, int count) {
    std::vector<int64_t> some = of;
    random_.Shuffle(some);
    some.resize(std::min(some.size(), static_cast<size_t>(count)));
    return some;
  }

  Tensor BatchLoss(const Tensor& keys, const Tensor& queries) {
    const auto num_segments = static_cast<int64_t>(segments_.rows.size());
    const std::vector<int64_t> drawn = Some(answered_, options_.batch);
    std::set<int64_t> among;
    for (const int64_t question : drawn) {
      for (const int64_t gold : gold_[question]) {
        for (const int64_t near : {gold - 1, gold, gold + 1}) {
          if (near >= 0 && near < num_segments) among.insert(near);
        }
      }
    }
    for (int i = 0; i < options_.negatives; ++i) {
      among.insert(static_cast<int64_t>(random_.Below(static_cast<uint64_t>(num_segments))));
    }
    const std::vector<int64_t> chosen(among.begin(), among.end());
    std::vector<std::vector<int64_t>> gold;
    for (const int64_t question : drawn) {
      std::vector<int64_t>& columns = gold.emplace_back();
      for (const int64_t segment : gold_[question]) {
        columns.push_back(std::lower_bound(chosen.begin(), chosen.end(), segment) - chosen.begin());
      }
    }
    std::vector<Rows> key_rows, query_rows;
    std::vector<Tensor> wanted_keys, wanted_queries;
    Take(segments_, chosen, &key_rows, &wanted_keys);
    if (!others_.rows.empty()) {
      const auto run = std::min<int64_t>(options_.run, static_cast<int64_t>(others_.rows.size()));
      const auto first = static_cast<int64_t>(random_.Below(others_.rows.size() - static_cast<uint64_t>(run) + 1));
      std::vector<int64_t> consecutive;
      for (int64_t i = first; i < first + run; ++i) consecutive.push_back(i);
      Take(others_, consecutive, &key_rows, &wanted_keys);
    }
    Take(questions_, drawn, &query_rows, &wanted_queries);
    if (!asked_.rows.empty()) {
      std::set<int64_t> others;
      const auto count = std::min<size_t>(static_cast<size_t>(options_.batch), asked_.rows.size());
      while (others.size() < count) others.insert(static_cast<int64_t>(random_.Below(asked_.rows.size())));
      Take(asked_, {others.begin(), others.end()}, &query_rows, &wanted_queries);
    }
    return LossOf(at::linear(Means(key_gate_, key_rows, layers_, options_.dropout), keys), at::cat(wanted_keys, 0),
                  at::linear(Means(query_gate_, query_rows, layers_, options_.dropout), queries),
                  at::cat(wanted_queries, 0), gold);
  }

  TrainingState Evaluate() const {
    const c10::NoGradGuard no_gradients;
    const TrainingPool& pool = *data_.held_out.pool;
    std::vector<Rows> segments, questions;
    for (int64_t i = 0; i < pool.num_segments(); ++i) segments.push_back(SegmentRows(pool, i));
    for (int64_t i = 0; i < pool.num_questions(); ++i) questions.push_back(QuestionRows(pool, i));
    const Tensor keys = at::linear(MeansOfAll(key_gate_, segments, layers_), keys_);
    const Tensor queries = at::linear(MeansOfAll(query_gate_, questions, layers_), queries_);
    TrainingState state;
    state.scores = Floats(at::mm(UnitRows(queries), UnitRows(keys).t()));
    state.held_out_loss =
        LossOf(keys.index_select(0, at::tensor(data_.held_out.segments, at::kLong)), held_segments_.vectors,
               queries.index_select(0, at::tensor(data_.held_out.questions, at::kLong)), held_questions_.vectors,
               held_gold_)
            .item<double>();
    return state;
  }

  RetrievalHead Head() const {
    RetrievalHead head;
    head.kind = RetrievalHead::Kind::kPooled;
    head.layers = layers_;
    head.dim = options_.dim;
    head.type = VectorType::kInt8;
    head.key_projection = RoundedFloats(keys_);
    head.query_projection = RoundedFloats(queries_);
    head.gate = Floats(query_gate_.weight);
    head.gate_bias = query_gate_.bias.item<float>();
    head.key_gate = Floats(key_gate_.weight);
    head.key_gate_bias = key_gate_.bias.item<float>();
    return head;
  }

  const PooledTrainingData& data_;
  const std::vector<int>& layers_;
  const PooledTrainingOptions options_;
  const int64_t width_;
  Gate key_gate_, query_gate_;
  Random random_;
  Tensor keys_, queries_;  // [dim, width] by regression with the gates as they were last looked at
  Taught segments_, questions_, others_, asked_, others_as_questions_, held_segments_, held_questions_;
  std::vector<std::vector<int64_t>> gold_, held_gold_;  // [questions] places among the segments
  std::vector<int64_t> answered_;                       // questions that have any
};

}  // namespace
}  // namespace ilre::cli

extern "C" void IlreTrainPooled(const ilre::cli::PooledTrainingData* data, const std::vector<int>* layers,
                                const ilre::cli::PooledTrainingOptions* options,
                                const ilre::cli::TrainingObserver* observe, absl::StatusOr<ilre::RetrievalHead>* head) {
  *head = ilre::cli::WithoutThrowing<ilre::RetrievalHead>(
      [&] { return ilre::cli::Trainer(*data, *layers, *options).Train(*observe); });
}
