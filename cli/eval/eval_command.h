// ilre eval
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/settings.h"

namespace ilre::cli {

struct EvalArguments {
  std::string output;                // folder of results and report
  std::vector<std::string> tasks;    // of RULER; empty: all whose sources are there
  std::vector<int> lengths;          // tokens, of RULER's tasks; empty: none of them
  std::vector<std::string> modes;    // of EvalModes() and the names in `compared`; empty: "default", and these
  std::vector<int> budgets = {512};  // tokens
  int samples = 10;                  // of each task and length
  uint64_t seed = 0;
  std::string prose;                  // file; empty: the Bible, where it is installed
  std::string squad, hotpot;          // files of qa_1 and qa_2
  double holdout = 0.25;              // share of the SQuAD file's articles that are asked about, the last
  int squad_tokens = 0;               // also ask all held-out questions, over one text of so many tokens
  bool collection = false;            // its paragraphs are documents of their own
  std::string questions;              // a file of users' own
  std::vector<std::string> compared;  // NAME=FILE: mode NAME is the profile of FILE
  std::vector<std::string> chosen;    // NAME=FILE: mode NAME is another retriever's choice (cli/eval/other_retriever.h)
  int attention_layer = -1;           // of modes gemfilter and snapkv; -1: two fifths of the way up
  bool recall_only = false;           // no answers are generated
  bool write_samples = false;         // for another retriever, to samples.jsonl in `output`; nothing is asked
};

absl::Status RunEval(const Settings& settings, const EvalArguments& arguments);

}  // namespace ilre::cli
