// An upload over HTTP: the body's bytes go into an ingest as they come.
#pragma once

#include "absl/status/status.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "encoder_service/encoder_handler.h"
#include "httplib.h"
#include "ilre/v1/encoder.pb.h"

namespace ilre::cli {

struct UploadRequest {
  v1::IngestDocumentRequest first;  // name, options, and where the body begins
  bool finish = true;               // the document ends with the body
};

// Reads the body and ingests it, piece by piece: each is computed before more is read, so that memory stays bounded
// however fast the client sends, and uploads take turns. Blocks until the end. A body that ends early commits what came
// of it and is CANCELLED.
absl::Status Upload(const UploadRequest& upload, const httplib::Request& request, const httplib::ContentReader& reader,
                    const CallScope& scope, EncoderHandler& encoder, Executor& executor, ServiceMetrics& metrics,
                    v1::IngestProgress* last);

}  // namespace ilre::cli
