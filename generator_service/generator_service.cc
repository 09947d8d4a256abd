#include "generator_service/generator_service.h"

#include "absl/time/time.h"
#include "common/rpc/stream_call.h"

namespace ilre {

void CountGeneration(const v1::GenerateResponse& event, ServiceMetrics& metrics) {
  if (!event.has_finish()) return;
  metrics.AddDecodedTokens(event.finish().answer_tokens());
  metrics.RecordTimeToFirstToken(absl::Milliseconds(event.finish().timings().first_token_ms()));
}

grpc::ServerWriteReactor<v1::GenerateResponse>* GeneratorService::Generate(grpc::CallbackServerContext* context,
                                                                           const v1::GenerateRequest* request) {
  using Call = StreamCall<v1::GenerateResponse>;
  return Call::Start(context, "ilre.v1.Generator/Generate", parts_, executor_, "answers",
                     [=, this](const CallContext& call, const Call::Write& write) {
                       return handler_.Generate(call, *request, [&](const v1::GenerateResponse& event) {
                         CountGeneration(event, parts_.metrics);
                         return write(event);
                       });
                     });
}

}  // namespace ilre
