// Questions that the model itself writes about texts: so a profile can be fitted to documents that nobody has asked
// about yet (as Dai et al., "Promptagator", 2022, and Bonifacio et al., "InPars", 2022, do with large models).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "cli/calibrate/training_text.h"
#include "common/model/chat_template.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

// A text as articles of some paragraphs each, whole segments as documents are cut with this profile: a paragraph ends
// at a blank line or where it is long. White space around a paragraph is left out. Titles are `name` and a number.
std::vector<SquadArticle> CutArticles(const Tokenizer& tokenizer, const RetrievalProfile& profile,
                                      const std::string& name, const std::string& text);

// A segment that a question can be written about.
struct AskedSegment {
  size_t article = 0, paragraph = 0;  // indices
  size_t begin = 0, end = 0;          // bytes of the paragraph, without white space around
};

// All that are neither too short nor too long to ask about, in order.
std::vector<AskedSegment> SegmentsToAsk(const Tokenizer& tokenizer, const RetrievalProfile& profile,
                                        const std::vector<SquadArticle>& articles);

// What the model is given to write a question that `text` answers; it goes on up to the end of the line.
std::vector<TokenId> QuestionPrompt(const Tokenizer& tokenizer, const ChatTemplate& chat, const std::string& text);

// The question in what the model wrote: up to the first question mark (of any script), without white space around;
// nothing where that is no question or too long for one.
absl::optional<std::string> QuestionIn(absl::string_view written);

// A SQuAD-format file of them, as ReadSquad reads it. Articles and paragraphs without questions are kept.
std::string SquadFile(const std::vector<SquadArticle>& articles);

}  // namespace ilre::cli
