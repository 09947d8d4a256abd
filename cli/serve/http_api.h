// The services over HTTP and JSON, and the page that uses them.
//
// Paths follow https://google.aip.dev/127; bodies are protobuf's JSON form of the same messages as over gRPC:
//   GET    /v1/collections/{c|-}/documents?page_size=&page_token=     ListDocumentsResponse
//   GET    /v1/collections/{c}/documents/{d}                          Document
//   DELETE /v1/collections/{c}/documents/{d}?etag=&allow_missing=     {}
//   GET    /v1/collections/{c}/documents/{d}:status                   IngestProgress
//   POST   /v1/collections/{c}/documents/{d}:ingest?replace&append&offset=&finish=&expire_time=
//          The body is the text itself, of any size; the answer the last IngestProgress. finish=false leaves the
//          document open for more, from the answer's committedBytes on.
//   POST   /v1/collections/{c}/documents/{d}:text                     ReadTextRequest without name -> ReadTextResponse
//   POST   /v1/documents:retrieve                                     RetrieveRequest -> RetrieveResponse
//   POST   /v1/documents:score                                        ScoreDocumentRequest -> ScoreDocumentResponse
//   POST   /v1/documents:generate                                     GenerateRequest -> lines of GenerateResponse
// The answer to the last is application/x-ndjson: a line an event, sent as it comes; where it fails after its first
// line, {"error": google.rpc.Status} is the last. All other errors are a google.rpc.Status as JSON, with the HTTP
// status of its code. Tokens, request ids, traces, metrics and logs are those of the same methods over gRPC.
//
// Other web sites are kept out: requests that a browser makes on behalf of another origin are refused, and on a
// loopback address also those that name another host (DNS rebinding).
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "encoder_service/encoder_handler.h"
#include "generator_service/generator_handler.h"
#include "retriever_service/retriever_handler.h"

namespace httplib {
class Server;
}

namespace ilre::cli {

struct HttpApiParts {
  EncoderHandler& encoder;
  RetrieverHandler& retriever;
  GeneratorHandler& generator;
  Executor& ingests;    // computes pieces of documents
  Executor& requests;   // what is quick
  Executor& questions;  // retrieves, scores, reads
  Executor& answers;    // generates
  ServerParts server;
};

struct HttpApiOptions {
  std::string listen_host = "127.0.0.1";  // what the server is bound to: a name, an address or an [address]
  int max_ingests = 16;                   // uploads at once
  absl::Duration request_timeout = absl::Minutes(2);
  absl::Duration answer_timeout = absl::Minutes(10);
  static constexpr size_t kMaxJsonBytes = 4 << 20;  // of a request's JSON body
};

// Thread-safe.
class HttpApi {
 public:
  // Everything in `parts` must outlive it and the tasks of its executors.
  HttpApi(const HttpApiParts& parts, const HttpApiOptions& options);
  ~HttpApi();
  HttpApi(const HttpApi&) = delete;
  HttpApi& operator=(const HttpApi&) = delete;

  // Adds the API's and the page's routes, and sets limits that they need: one request a connection (a refused upload's
  // rest must not be read as a request), no limit on the size of bodies (each route has its own), half a minute's
  // patience with a client that stops sending or reading. This must outlive the server's threads.
  void Mount(httplib::Server& server);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace ilre::cli
