// Files of questions: SQuAD's and HotpotQA's formats, and plain ones of users.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/eval/ruler.h"
#include "cli/eval/sample.h"

namespace ilre::cli {

// The paragraphs of a SQuAD-format file. Those of the last `held_out` share of its articles keep their questions, as
// `calibrate` holds them out; the others have none. Errors: those of ReadSquad.
absl::StatusOr<std::vector<Passage>> ReadSquadPassages(const std::string& path, double held_out);

// HotpotQA's format (Yang et al., 2018): a list of {question, answer, context: [[title, [sentence...]]...]}. Each entry
// is one passage, all of its paragraphs, with its question. Errors name the entry.
absl::StatusOr<std::vector<Passage>> ReadHotpotPassages(const std::string& path);

// One sample "squad" a question with an answer in the text: all passages with questions, and others up to `max_tokens`
// (0: none), shuffled by the seed, as one document under headings.
std::vector<Sample> SquadSamples(const Tokenizer& tokenizer, const std::vector<Passage>& passages, int max_tokens,
                                 uint64_t seed);

// JSON lines {"document": text, "question": ..., "answers": [...]}: samples "questions". An answer that stands in the
// text once has its place as gold. Errors name the line.
absl::StatusOr<std::vector<Sample>> ReadUserSamples(const std::string& path);

}  // namespace ilre::cli
