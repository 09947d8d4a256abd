// ilre ask NAME... QUESTION
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/settings.h"
#include "common/model/sampler.h"

namespace ilre::cli {

struct AskArguments {
  std::vector<std::string> words;  // names, then the question
  std::string collection;          // of names without one; alone: all its documents
  int budget = 0;                  // tokens to recall; 0: the profile's
  bool one_look = false;           // no second look, whatever the profile says
  std::string instruction;         // after text and question; empty with has_instruction false: the default
  bool has_instruction = false;
  std::string answer_prefix;
  int max_tokens = 128;  // of the answer; 0: spans only
  std::vector<std::string> stop;
  SamplingOptions sampling;
  bool json = false;
  std::string batch_file;   // JSON lines of questions; answers are JSON lines
  std::string report_file;  // an HTML page about the answer; not with batch_file
};

absl::Status RunAsk(const Settings& settings, const AskArguments& arguments);

}  // namespace ilre::cli
