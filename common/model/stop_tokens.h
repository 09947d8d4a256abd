// Which tokens end an answer.
#pragma once

#include <vector>

#include "common/model/tokenizer_spec.h"

namespace ilre {

// Fills spec->stop_ids, ascending: the end token, `more` (ids that a file names; those out of range are left out), and
// the control tokens that end a turn or a text in the known chat formats, since files often name only one of them.
void SetStopIds(TokenizerSpec* spec, std::vector<int32_t> more);

}  // namespace ilre
