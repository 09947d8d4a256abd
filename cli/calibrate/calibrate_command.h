// ilre calibrate --train
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/calibrate/probe_trainer.h"
#include "cli/settings.h"

namespace ilre::cli {

struct CalibrateArguments {
  bool train = false;
  std::string squad_file;
  std::string output;             // the profile: FILE.json; its weights go to FILE.safetensors
  std::string name;               // of the profile; empty: from the output's name
  std::vector<int> layers = {2};  // a probe at the input of each
  double holdout = 0.25;          // share of the articles, the last ones, that training does not see
  int needle_texts = 8;
  ProbeTrainingOptions training;
  float lexical_weight = 0.7f, neighbour_weight = 0.3f;
  int max_looks = 4;  // of the second look
};

absl::Status RunCalibrate(const Settings& settings, const CalibrateArguments& arguments);

}  // namespace ilre::cli
