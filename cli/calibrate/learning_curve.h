// How a head comes along while it is trained, and where training should have stopped.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/calibrate/training_pool.h"
#include "cli/json_output.h"

namespace ilre::cli {

inline constexpr int kCurveBudgets[] = {128, 256, 512};  // tokens recalled

// What a trainer tells now and then: how well the head as it is now does on a text that it does not learn from.
struct TrainingState {
  int step = 0;               // steps done; 0: before the first
  double loss = 0;            // of the last step's batch; 0 before the first
  double held_out_loss = 0;   // of the text's questions among all its segments
  std::vector<float> scores;  // [questions, segments] of that text
};
// False: stop here.
using TrainingObserver = std::function<bool(const TrainingState&)>;

struct CurvePoint {
  int step = 0;
  double loss = 0, held_out_loss = 0;
  std::vector<double> recall;  // at kCurveBudgets: share of the segments that hold the answers
  double mean_recall() const;
};
using LearningCurve = std::vector<CurvePoint>;

// `scores` as the engine would choose by them within each budget. Questions without a known answer do not count.
CurvePoint MeasureState(const TrainingState& state, const TrainingPool& held_out);

// What says how good a point is. The loss of a probe is no judge of it: it rises long before recall falls. That of a
// pooled head is the better one: it is how far the head is from its teacher, which finds what is said in other words,
// and labelled questions ask in the text's words.
enum class Judge { kRecall, kLoss };

// The index of the best point; noise is averaged out with the points beside it; of equals the last. The curve has a
// point.
size_t BestPoint(const LearningCurve& curve, Judge judge);
// Whether `patience` points have come since the best one.
bool StoppedLearning(const LearningCurve& curve, Judge judge, size_t patience);

Json CurveJson(const LearningCurve& curve);
// False where `json` is no curve.
bool ReadCurve(const Json& json, LearningCurve* curve);

}  // namespace ilre::cli
