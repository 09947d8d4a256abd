// One IngestDocument call on the network.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/call_scope.h"
#include "common/rpc/executor.h"
#include "encoder_service/encoder_handler.h"
#include "encoder_service/ingest_slots.h"
#include "grpcpp/support/server_callback.h"
#include "ilre/v1/encoder.pb.h"

namespace ilre {

// Reads a message, computes it piece by piece on the executor (so that ingests take turns), and only then reads the
// next one: a client that sends faster than that is slowed down by gRPC's flow control. Acknowledgements that were not
// sent yet are replaced by newer ones. Deletes itself when gRPC is done with it.
class IngestCall final : public grpc::ServerBidiReactor<v1::IngestDocumentRequest, v1::IngestProgress> {
 public:
  // Everything must outlive the call.
  static IngestCall* Start(grpc::CallbackServerContext* context, const ServerParts& parts, EncoderHandler& handler,
                           Executor& executor, IngestSlots& slots);

 private:
  IngestCall(grpc::CallbackServerContext* context, const ServerParts& parts, EncoderHandler& handler,
             Executor& executor, IngestSlots& slots);
  ~IngestCall() override;

  void Begin();
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Work on the executor; one piece at a time.
  void Submit(void (IngestCall::*piece)());
  void TakePiece();
  void EndOfMessages();
  void StopEarly();

  void ReadNext();
  // Into the metrics: what became durable since the last time.
  void Count();
  // The same for a session that has been abandoned, which may have committed something or not.
  void CountAbandoned();
  void Acknowledge(const v1::IngestProgress& progress);
  // The end: after the write in flight, if there is one. `last`, if any, is sent before the status.
  void Conclude(const absl::Status& status, const v1::IngestProgress* last);
  void FinishNow();

  EncoderHandler& handler_;
  Executor& executor_;
  IngestSlots& slots_;
  ServiceMetrics& metrics_;
  CallScope scope_;
  bool has_slot_ = false;
  std::unique_ptr<IngestSession> session_;
  uint64_t counted_tokens_ = 0, counted_bytes_ = 0;  // in the metrics, of this call

  v1::IngestDocumentRequest message_;  // being read or computed
  size_t taken_bytes_ = 0;             // of message_

  absl::Mutex mutex_;
  // Somebody is at it: a piece on the executor, or whoever starts a read. Only they may end the call.
  bool working_ ABSL_GUARDED_BY(mutex_) = true;
  bool read_done_ ABSL_GUARDED_BY(mutex_) = false, read_ok_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;  // the call has to end early
  bool concluded_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_waiting_ ABSL_GUARDED_BY(mutex_) = false;
  v1::IngestProgress waiting_ ABSL_GUARDED_BY(mutex_);  // to be sent when the write in flight is done
  v1::IngestProgress in_flight_;
  bool has_last_ = false;
  v1::IngestProgress last_;
  grpc::Status final_status_;
};

}  // namespace ilre
