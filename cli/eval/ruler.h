// The 13 tasks of RULER (Hsieh et al., "RULER: What's the Real Context Size of Your Long-Context Language Models?",
// arXiv 2404.06654), written anew: its wording, counts and scores. What differs: prose is any English text; the
// instruction stands after the question, as in every prompt here; the worked example of vt is short and stands outside
// the document.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/eval/prose.h"
#include "cli/eval/sample.h"
#include "common/base/random.h"
#include "common/model/tokenizer.h"

namespace ilre::cli {

// Paragraphs, and questions about them.
struct Passages {
  struct Part {
    size_t passage = 0;  // place in `texts`
    ByteRange bytes;     // within its text; not empty
    friend bool operator==(const Part&, const Part&) = default;
  };
  struct Question {
    std::string question;
    std::vector<std::string> answers;
    std::vector<size_t>
        needed;              // passages that a document has to have for it: places in `texts`, one or more, each once
    std::vector<Part> gold;  // of these: what the answer is made from; empty where that is not known
  };
  std::vector<std::string> texts;
  std::vector<Question> questions;
};

// What tasks are made from. Borrowed.
struct TaskSources {
  const Tokenizer* tokenizer = nullptr;
  const Prose* prose = nullptr;
  const Passages* squad = nullptr;   // of qa_1; null: there is no such task
  const Passages* hotpot = nullptr;  // of qa_2
};

// In RULER's order.
const std::vector<std::string>& RulerTasks();
// Whether the sources for `task` are there.
bool CanMake(const TaskSources& sources, const std::string& task);

inline constexpr int kLeastRulerTokens = 512, kMostRulerTokens = 1 << 24;

// A prompt of the whole document has, with the answer, at most `length` tokens and not much less. The same seed, task,
// length and index give the same sample. Errors: INVALID_ARGUMENT for an unknown task, one without its sources, a
// length out of range or too short for the task.
absl::StatusOr<Sample> MakeRulerSample(const TaskSources& sources, const std::string& task, int length, int index,
                                       uint64_t seed);

// --- For the tasks' own files.

// Tokens that are left for the document.
int RoomForDocument(const Tokenizer& tokenizer, const Sample& sample);
int CountTokens(const Tokenizer& tokenizer, const std::string& text);
// Where `part`, which must be there, stands in the document.
ByteRange Find(const std::string& document, const std::string& part);

// Each fills in everything of `sample` but its task, length and index, which are set.
absl::Status MakeNeedles(const TaskSources& sources, Random* random, Sample* sample);
absl::Status MakeChain(const TaskSources& sources, Random* random, Sample* sample);
absl::Status MakeCommonWords(const TaskSources& sources, Random* random, Sample* sample);
absl::Status MakeFrequentWords(const TaskSources& sources, Random* random, Sample* sample);
absl::Status MakeQuestion(const TaskSources& sources, Random* random, Sample* sample);

}  // namespace ilre::cli
