// Where the generator gets what its prompts are made from: a retriever in the same process or another one's.
#pragma once

#include "absl/status/status.h"
#include "common/base/call_context.h"
#include "ilre/v1/retriever.pb.h"

namespace ilre {

// Thread-safe.
class RetrievalSource {
 public:
  virtual ~RetrievalSource() = default;

  // As the Retriever service's method. Blocks until answered, cancelled or past the context's deadline.
  virtual absl::Status Retrieve(const CallContext& context, const v1::RetrieveRequest& request,
                                v1::RetrieveResponse* response) = 0;
};

}  // namespace ilre
