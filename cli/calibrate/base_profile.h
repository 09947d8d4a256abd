// What every calibrated profile has in common.
#pragma once

#include "cli/calibrate/calibrate_command.h"
#include "common/model/chat_template.h"
#include "common/model/checkpoint.h"
#include "common/model/tokenizer.h"
#include "common/retrieval/profile.h"

namespace ilre::cli {

// A profile for the model without heads. `depth`: layers that its stream will run through.
RetrievalProfile BaseProfile(const Checkpoint& checkpoint, const Tokenizer& tokenizer, const ChatTemplate& chat,
                             const CalibrateArguments& arguments, int depth);

// What the scores are fused with, and the prompt's floor: as asked for, else as docs/quality.md found them best with a
// pooled head or without one.
void SetWeights(const CalibrateArguments& arguments, bool pooled, RetrievalProfile* profile);

}  // namespace ilre::cli
