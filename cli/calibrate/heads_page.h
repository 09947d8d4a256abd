// The page of `ilre calibrate --heads --report`: which heads recall what, as heat maps, and at what cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/calibrate/head_results.h"
#include "cli/calibrate/held_out_recall.h"

namespace ilre::cli {

struct HeadsReport {
  struct Group {
    std::string kind;  // "needles" or "questions"
    int length = 0, questions = 0;
    std::vector<HeadRecall::Layer> layers;  // means
  };
  std::string model;  // fingerprint
  int budget = 0;
  std::vector<Group> groups;
  std::vector<HeadRecall::Layer> overall;
  HeadChoice best, chosen;
  int published_layer = 0;
  int64_t bytes_per_token = 0;  // of one head's stored keys
  std::vector<RecallAtBudget> held_out;
};

// Loads nothing, runs no script. Needs a group and a layer.
std::string RenderHeadsPage(const HeadsReport& report);

}  // namespace ilre::cli
