// ilre calibrate --train, ilre calibrate --heads
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

  bool heads = false;
  std::vector<int> lengths = {4096, 8192};  // tokens of the texts that heads are tried on
  int texts = 2;                            // of needles, of each length; and one of questions
  int questions = 64;                       // of each text, at most
  int budget = 256;                         // tokens recalled
  double tolerance = 0.02;                  // recall that is given for an earlier layer
  std::string work;                         // folder of results to go on from; empty: none are kept
  std::string report;                       // the page to write; empty: none
};

absl::Status RunCalibrate(const Settings& settings, const CalibrateArguments& arguments);

}  // namespace ilre::cli
