#include "cli/calibrate/early_stopping.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace ilre::cli {
namespace {

constexpr size_t kPatience = 6;  // points of the curve without any gain before training stops

void PrintPoint(const std::string& name, const char* text, const CurvePoint& point) {
  std::fprintf(stderr, "%s: step %d, loss %.3f; %s articles: loss %.3f, recall %.3f / %.3f / %.3f\n", name.c_str(),
               point.step, point.loss, text, point.held_out_loss, point.recall[0], point.recall[1], point.recall[2]);
}

bool ReadTrained(const std::string& line, TrainedHead* trained) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("name") || !json["name"].is_string()) return false;
  if (!json.contains("steps") || !json["steps"].is_number_integer()) return false;
  if (!json.contains("validation") || !ReadCurve(json["validation"], &trained->validation)) return false;
  if (!json.contains("held_out") || !ReadCurve(json["held_out"], &trained->held_out)) return false;
  trained->name = json["name"].get<std::string>();
  trained->steps = json["steps"].get<int>();
  return true;
}

}  // namespace

absl::StatusOr<TrainedHead> TrainWithEarlyStopping(const std::string& name, Judge judge, const TrainFunction& train,
                                                   const TrainingPool* validation, const TrainingPool& held_out) {
  TrainedHead trained{.name = name, .head = {}, .trial = {}, .steps = 0, .validation = {}, .held_out = {}};
  if (validation != nullptr) {
    ILRE_ASSIGN_OR_RETURN(trained.trial, train(/*all=*/false, [&](const TrainingState& state) {
                            trained.validation.push_back(MeasureState(state, *validation));
                            PrintPoint(name, "validation", trained.validation.back());
                            return !Interrupted() && !StoppedLearning(trained.validation, judge, kPatience);
                          }));
    if (Interrupted()) return errors::Cancelled("calibrate");
    trained.steps = trained.validation[BestPoint(trained.validation, judge)].step;
    std::fprintf(stderr, "%s: %d steps are best\n", name.c_str(), trained.steps);
  }
  ILRE_ASSIGN_OR_RETURN(trained.head, train(/*all=*/true, [&](const TrainingState& state) {
                          trained.held_out.push_back(MeasureState(state, held_out));
                          PrintPoint(name, "held-out", trained.held_out.back());
                          return !Interrupted() && (validation == nullptr || state.step < trained.steps);
                        }));
  if (Interrupted()) return errors::Cancelled("calibrate");
  trained.steps = trained.held_out.back().step;
  return trained;
}

absl::StatusOr<std::unique_ptr<TrainingWork>> TrainingWork::Open(std::string folder, const std::string& settings) {
  std::unique_ptr<TrainingWork> work(new TrainingWork(std::move(folder)));
  if (work->folder_.empty()) return work;
  ILRE_RETURN_IF_ERROR(CreateFolders(work->folder_));
  ILRE_ASSIGN_OR_RETURN(work->log_,
                        LineLog::Open(work->folder_ + "/train.jsonl", settings, "CALIBRATE_OTHER_SETTINGS"));
  return work;
}

absl::StatusOr<TrainedHead> TrainingWork::Find(const std::string& name, const RetrievalProfile& base,
                                               const std::function<absl::StatusOr<TrainedHead>()>& train) {
  const std::string path = absl::StrCat(folder_, "/", name, ".json");
  if (log_ != nullptr) {
    for (size_t i = 0; i < log_->lines().size(); ++i) {
      TrainedHead trained;
      if (!ReadTrained(log_->lines()[i], &trained)) return log_->Damaged(i, "CALIBRATE_LOG_DAMAGED");
      if (trained.name != name) continue;
      ILRE_ASSIGN_OR_RETURN(RetrievalProfile kept, LoadProfile(path));
      trained.head = std::move(kept.heads.front());
      if (kept.heads.size() > 1) trained.trial = std::move(kept.heads.back());
      return trained;
    }
  }
  ILRE_ASSIGN_OR_RETURN(TrainedHead trained, train());
  if (log_ == nullptr) return trained;
  RetrievalProfile kept = base;
  kept.heads = {trained.head};
  if (trained.trial.dim > 0) kept.heads.push_back(trained.trial);
  ILRE_RETURN_IF_ERROR(SaveProfile(kept, path));
  ILRE_RETURN_IF_ERROR(log_->Append(DumpLine({{"name", trained.name},
                                              {"steps", trained.steps},
                                              {"validation", CurveJson(trained.validation)},
                                              {"held_out", CurveJson(trained.held_out)}})));
  return trained;
}

}  // namespace ilre::cli
