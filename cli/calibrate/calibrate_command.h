// ilre calibrate --train, --heads or --write-questions
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/calibrate/pooled_trainer.h"
#include "cli/calibrate/probe_trainer.h"
#include "cli/settings.h"

namespace ilre::cli {

struct CalibrateArguments {
  bool train = false;
  std::vector<std::string> squad_files;  // of each the last articles are held out
  std::string output;                    // the profile: FILE.json; its weights go to FILE.safetensors. Or the questions
  std::string name;                      // of the profile; empty: from the output's name
  std::vector<int> layers = {2};         // a probe at the input of each
  double holdout = 0.25;                 // share of the articles, the last ones, that training does not see
  double validation = 0.2;               // share of the rest, its last ones, that say when to stop; 0: none
  int needle_texts = 8;
  ProbeTrainingOptions training;
  bool bf16 = false;  // the stream's arithmetic where it could be int8

  std::string teacher;                     // folder of a sentence-embedding model's vectors; empty: no pooled head
  std::vector<std::string> pooled_layers;  // "0,2": the sets to try; empty: layer 0 and that of the first probe
  std::vector<int> pooled_dims = {256};    // to try
  PooledTrainingOptions pooled;
  // Where they are not given: 0.7, 1 and 0.3 without a pooled head, 6, 3 and 0.4 with one (docs/quality.md).
  std::optional<float> lexical_weight, lexical_power, neighbour_weight;
  float probe_weight = 1;  // of each probe's scores
  int max_looks = 4;       // of the second look

  bool heads = false;
  std::vector<int> lengths = {4096, 8192};  // tokens of the texts that heads are tried on
  int texts = 2;                            // of needles, of each length; and one of questions
  int questions = 64;                       // of each text, at most
  int budget = 256;                         // tokens recalled

  std::vector<std::string> write_questions;  // texts to write questions about
  int most = 1000;                           // sentences that are asked about

  double tolerance = 0.02;  // recall that is given for an earlier layer, or for a cheaper pooled head
  std::string work;         // folder of results to go on from; empty: none are kept
  std::string report;       // the page to write; empty: none
};

absl::Status RunCalibrate(const Settings& settings, const CalibrateArguments& arguments);

}  // namespace ilre::cli
