// The Retriever service without its transport: validates requests, calls the retriever core, converts.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/call_context.h"
#include "common/retrieval/retrieval_model.h"
#include "common/store/key_store.h"
#include "ilre/v1/retriever.pb.h"
#include "retriever_service/document_search.h"
#include "retriever_service/retriever.h"

namespace ilre {

// Thread-safe. Methods block. Everything given must outlive it.
class RetrieverHandler {
 public:
  RetrieverHandler(const RetrievalModel& model, KeyStoreReader& store) : retriever_(model, store), store_(store) {}

  // Errors of each method: see protos/ilre/v1/retriever.proto.
  absl::Status Retrieve(const CallContext& context, const v1::RetrieveRequest& request, v1::RetrieveResponse* response);
  absl::Status ScoreDocument(const CallContext& context, const v1::ScoreDocumentRequest& request,
                             v1::ScoreDocumentResponse* response);
  absl::Status ReadText(const CallContext& context, const v1::ReadTextRequest& request, v1::ReadTextResponse* response);

 private:
  static absl::StatusOr<std::vector<SearchTarget>> ParseNames(const CallContext& context,
                                                              const v1::RetrieveRequest& request);

  const Retriever retriever_;
  KeyStoreReader& store_;
};

}  // namespace ilre
