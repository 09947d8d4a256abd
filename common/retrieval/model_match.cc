#include "common/retrieval/model_match.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace ilre {

absl::Status CheckSameModel(const DocumentRow& row, const RetrievalModel& model) {
  const auto check = [&](absl::string_view what, const std::string& stored, const std::string& loaded) -> absl::Status {
    if (stored == loaded) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_MISMATCH",
                     absl::StrCat("document ", row.collection, "/", row.document, " was read with the ", what, " ",
                                  stored, "; the one loaded is ", loaded));
  };
  ILRE_RETURN_IF_ERROR(check("model", row.model, model.model_fingerprint()));
  ILRE_RETURN_IF_ERROR(check("tokenizer", row.tokenizer, model.tokenizer().fingerprint()));
  return check("profile", row.profile, model.encoding_fingerprint());
}

}  // namespace ilre
