#include "cli/calibrate/learning_curve.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "cli/calibrate/segmented_text.h"

namespace ilre::cli {
namespace {

constexpr double kEqual = 1e-9;  // numbers that are the same but for rounding

}  // namespace

double CurvePoint::mean_recall() const {
  return recall.empty() ? 0 : std::accumulate(recall.begin(), recall.end(), 0.0) / static_cast<double>(recall.size());
}

CurvePoint MeasureState(const TrainingState& state, const TrainingPool& held_out) {
  CurvePoint point{.step = state.step, .loss = state.loss, .held_out_loss = state.held_out_loss, .recall = {}};
  point.recall.assign(std::size(kCurveBudgets), 0);
  int questions = 0;
  for (size_t question = 0; question < held_out.gold.size(); ++question) {
    const std::vector<int64_t>& gold = held_out.gold[question];
    if (gold.empty()) continue;
    ++questions;
    const float* const scores = state.scores.data() + question * static_cast<size_t>(held_out.num_segments());
    for (size_t budget = 0; budget < std::size(kCurveBudgets); ++budget) {
      point.recall[budget] += GoldRecalled(held_out.segment_begins, scores, gold, kCurveBudgets[budget]);
    }
  }
  for (double& recall : point.recall) recall /= std::max(1, questions);
  return point;
}

size_t BestPoint(const LearningCurve& curve, Judge judge) {
  size_t best = 0;
  double best_value = 0;
  for (size_t i = 0; i < curve.size(); ++i) {
    const size_t first = i == 0 ? 0 : i - 1, last = std::min(i + 1, curve.size() - 1);
    double value = 0;
    for (size_t near = first; near <= last; ++near) {
      value += judge == Judge::kRecall ? curve[near].mean_recall() : -curve[near].held_out_loss;
    }
    value /= static_cast<double>(last - first + 1);
    if (i > 0 && value < best_value - kEqual) continue;
    best = i;
    best_value = value;
  }
  return best;
}

bool StoppedLearning(const LearningCurve& curve, Judge judge, size_t patience) {
  return !curve.empty() && curve.size() - 1 - BestPoint(curve, judge) >= patience;
}

Json CurveJson(const LearningCurve& curve) {
  Json json = Json::array();
  for (const CurvePoint& point : curve) {
    json.push_back(
        {{"step", point.step}, {"loss", point.loss}, {"held_out_loss", point.held_out_loss}, {"recall", point.recall}});
  }
  return json;
}

bool ReadCurve(const Json& json, LearningCurve* curve) {
  if (!json.is_array()) return false;
  for (const Json& point : json) {
    CurvePoint& read = curve->emplace_back();
    if (!point.is_object() || !point.contains("step") || !point["step"].is_number_integer()) return false;
    for (const char* field : {"loss", "held_out_loss"}) {
      if (!point.contains(field) || !point[field].is_number()) return false;
    }
    if (!point.contains("recall") || !point["recall"].is_array() ||
        point["recall"].size() != std::size(kCurveBudgets)) {
      return false;
    }
    read.step = point["step"].get<int>();
    read.loss = point["loss"].get<double>();
    read.held_out_loss = point["held_out_loss"].get<double>();
    for (const Json& recall : point["recall"]) {
      if (!recall.is_number()) return false;
      read.recall.push_back(recall.get<double>());
    }
  }
  return true;
}

}  // namespace ilre::cli
