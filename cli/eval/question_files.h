// Files of questions: SQuAD's and HotpotQA's formats, and plain ones of users.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/eval/prose.h"
#include "cli/eval/ruler.h"
#include "cli/eval/sample.h"

namespace ilre::cli {

// The paragraphs of a SQuAD-format file. Those of the last `held_out` share of its articles keep their questions, as
// `calibrate` holds them out; the others have none. Errors: those of ReadSquad.
absl::StatusOr<Passages> ReadSquadPassages(const std::string& path, double held_out);

// HotpotQA's format (Yang et al., 2018): a list of {question, answer, context: [[title, [sentence...]]...],
// supporting_facts: [[title, sentence's number]...]}. As in RULER each paragraph, its title in a line of its own, is a
// passage, once however many entries have it, and a question needs all of its entry's. The supporting facts are its
// gold. Without any, or where one names no sentence of its entry, it has no gold: a share of the rest would say
// nothing. Errors: INVALID_ARGUMENT naming the entry and its field for what is not of the format, or has more than a
// thousand paragraphs or facts.
absl::StatusOr<Passages> ReadHotpotPassages(const std::string& path);

// Questions about one text, which is kept once for all of them.
struct QuestionSet {
  std::string document;
  std::vector<uint64_t> ends;   // of its paragraphs
  std::vector<Sample> samples;  // without `document`
};

// One sample "squad" for each question with gold; each needs one passage. The text: all passages with questions, and
// others up to `max_tokens`, then pieces of `prose` (if any) of half a thousand tokens up to `max_tokens`; shuffled by
// the seed, under headings.
QuestionSet SquadQuestions(const Tokenizer& tokenizer, const Passages& passages, const Prose* prose, int max_tokens,
                           uint64_t seed);

// JSON lines {"document": text, "question": ..., "answers": [...]}: samples "questions". An answer that stands in the
// text once has its place as gold. Errors name the line.
absl::StatusOr<std::vector<Sample>> ReadUserSamples(const std::string& path);

}  // namespace ilre::cli
