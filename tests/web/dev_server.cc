// Temporary: the HTTP API over the real handlers, until `ilre serve` is there. dev_server DATA_DIR PORT
#include <cstdio>
#include <cstdlib>

#include "cli/loaded_model.h"
#include "cli/serve/http_api.h"
#include "common/store/key_store.h"
#include "httplib.h"

using namespace ilre;
class Local : public RetrievalSource {
 public:
  explicit Local(RetrieverHandler& h) : h_(h) {}
  absl::Status Retrieve(const CallContext& c, const v1::RetrieveRequest& q, v1::RetrieveResponse* r) override {
    return h_.Retrieve(c, q, r);
  }
  RetrieverHandler& h_;
};
int main(int argc, char** argv) {
  cli::Settings settings;
  auto model = *cli::LoadModel(settings, cli::Layers::kAll);
  auto store = *OpenKeyStore(argv[1], {});
  Logger log;
  std::unique_ptr<Authenticator> auth = std::make_unique<Authenticator>();
  if (argc > 3) auth = *Authenticator::Open(argv[3], log);
  ServiceMetrics metrics;
  ServerState state;
  EncoderHandler encoder(*store, *model.retrieval, {});
  RetrieverHandler retriever(*model.retrieval, *store);
  Local local(retriever);
  BatchGenerator generator(*model.decoder, *model.tokenizer, BatchOptions());
  GeneratorHandler answers(local, generator, *model.tokenizer, *MakeChatTemplate(*model.tokenizer));
  Executor e1({}), e2({}), e3({}), e4({});
  cli::HttpApi api({encoder, retriever, answers, e1, e2, e3, e4, {*auth, metrics, log, state}}, {});
  httplib::Server server;
  api.Mount(server);
  std::printf("http on 127.0.0.1:%s\n", argv[2]);
  std::fflush(stdout);
  server.listen("127.0.0.1", std::atoi(argv[2]));
}
