// Samples for retrievers that are not ours, and what these chose of them: any program is measured with the same texts,
// questions and prompts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/eval/sample.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

// A line of JSON without its end: {"task", "length", "index", "question", "document", "segments"}, where segments are
// those that the profile cuts the document into: [first byte, byte after the last, tokens] each.
std::string SampleLine(const Sample& sample, const Tokenizer& tokenizer, const RetrievalProfile& profile);

// What another retriever chose: for each sample and budget the ranges of bytes of its document that go into the prompt.
class ChosenRanges {
 public:
  // Lines of JSON {"task", "length", "index", "budget", "ranges": [[first byte, byte after the last], ...]}, ranges not
  // empty, ascending and apart; those that touch become one. Errors: INVALID_ARGUMENT naming the line for what is not
  // that, or stands there twice.
  static absl::StatusOr<ChosenRanges> Read(const std::string& path);

  // NOT_FOUND naming the sample where the file has none of it.
  absl::Status Check(const std::string& task, int length, int index, int budget) const;
  // Errors: those of Check; INVALID_ARGUMENT naming the sample where they go beyond its document.
  absl::StatusOr<std::vector<ByteRange>> Of(const Sample& sample, int budget) const;

 private:
  std::string path_;
  std::map<std::string, std::vector<ByteRange>> ranges_;  // by sample and budget
};

}  // namespace ilre::cli
