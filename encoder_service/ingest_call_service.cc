#include "encoder_service/ingest_call_service.h"

#include <algorithm>
#include <utility>

#include "common/base/errors.h"
#include "common/base/thread_pool.h"
#include "common/rpc/reaction_order.h"
#include "common/rpc/rpc_errors.h"

namespace ilre {
namespace {

// Text computed in one turn: a fraction of a second, so that ingests and their cancellation do not wait for long.
constexpr size_t kTurnBytes = 32 << 10;

}  // namespace

IngestCall* IngestCall::Start(grpc::CallbackServerContext* context, const ServerParts& parts, EncoderHandler& handler,
                              Executor& executor, IngestSlots& slots) {
  auto* call = new IngestCall(context, parts, handler, executor, slots);
  call->Begin();
  return call;
}

IngestCall::IngestCall(grpc::CallbackServerContext* context, const ServerParts& parts, EncoderHandler& handler,
                       Executor& executor, IngestSlots& slots)
    : handler_(handler),
      executor_(executor),
      slots_(slots),
      metrics_(parts.metrics),
      scope_(context, "ilre.v1.Encoder/IngestDocument", parts) {}

IngestCall::~IngestCall() {
  session_.reset();  // gives the document back before the place
  if (has_slot_) slots_.GiveBack(scope_.context().tenant);
}

void IngestCall::Begin() {
  absl::Status status = scope_.Begin();
  if (status.ok()) {
    has_slot_ = slots_.TryTake(scope_.context().tenant);
    if (!has_slot_) status = errors::Overloaded("ingests");
  }
  if (!status.ok()) return Conclude(status, nullptr);
  session_ =
      handler_.NewIngest(scope_.context(), [this](const v1::IngestProgress& progress) { Acknowledge(progress); });
  scope_.OnStop([this] {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
      if (working_ || concluded_) return;  // the piece at work will see it
      working_ = true;
    }
    Submit(&IngestCall::StopEarly);
  });
  ReadNext();
}

void IngestCall::Submit(void (IngestCall::*piece)()) {
  const bool taken = executor_.SubmitPiece(scope_.context().tenant, [this, piece] { (this->*piece)(); });
  if (!taken) Conclude(errors::Draining(), nullptr);
}

void IngestCall::ReadNext() {
  taken_bytes_ = 0;
  {
    absl::MutexLock lock(&mutex_);
    read_done_ = false;
  }
  Reaction::Leads(this);
  StartRead(&message_);
  bool stop, read_ok;
  {
    absl::MutexLock lock(&mutex_);
    stop = stop_;
    read_ok = read_ok_;
    working_ = stop || read_done_;
    if (!working_) return;  // OnReadDone or a stop takes over
  }
  Submit(stop ? &IngestCall::StopEarly : read_ok ? &IngestCall::TakePiece : &IngestCall::EndOfMessages);
}

void IngestCall::OnReadDone(bool ok) {
  const Reaction reaction(this);
  {
    absl::MutexLock lock(&mutex_);
    if (working_ || concluded_) {
      read_done_ = true;
      read_ok_ = ok;
      return;
    }
    working_ = true;
  }
  Submit(ok ? &IngestCall::TakePiece : &IngestCall::EndOfMessages);
}

void IngestCall::TakePiece() {
  const ScopedPriority in_background(Priority::kBackground);
  const size_t bytes = std::min(kTurnBytes, message_.data().size() - taken_bytes_);
  const bool whole = taken_bytes_ == 0 && bytes == message_.data().size();
  // A message that is too long is refused whole, not after its first pieces.
  const bool refused = message_.data().size() > EncoderLimits::kMaxChunkBytes;
  absl::Status status;
  if (whole || refused) {
    status = session_->Take(message_);
    taken_bytes_ = message_.data().size();
  } else {
    v1::IngestDocumentRequest piece;
    piece.set_name(message_.name());
    if (taken_bytes_ == 0 && message_.has_options()) *piece.mutable_options() = message_.options();
    piece.set_write_offset(message_.write_offset() + static_cast<int64_t>(taken_bytes_));
    piece.set_data(message_.data().data() + taken_bytes_, bytes);
    taken_bytes_ += bytes;
    if (taken_bytes_ == message_.data().size()) {
      piece.set_finish_write(message_.finish_write());
      piece.set_flush(message_.flush());
    }
    status = session_->Take(piece);
  }
  if (!status.ok()) {
    session_->Abandon();
    CountAbandoned();
    return Conclude(status, nullptr);
  }
  if (taken_bytes_ < message_.data().size()) return Submit(&IngestCall::TakePiece);
  ReadNext();
}

void IngestCall::EndOfMessages() {
  const ScopedPriority in_background(Priority::kBackground);
  v1::IngestProgress last;
  const absl::Status status = session_->End(&last);
  status.ok() ? Count() : CountAbandoned();
  Conclude(status, status.ok() ? &last : nullptr);
}

void IngestCall::StopEarly() {
  session_->Abandon();
  CountAbandoned();
  absl::Status status = scope_.context().Check("the ingest");
  Conclude(status.ok() ? errors::Cancelled("the ingest") : status, nullptr);
}

void IngestCall::OnCancel() {
  const Reaction reaction(this);
  scope_.Cancel();
}

void IngestCall::OnDone() {
  Reaction::Begins(this);
  delete this;
}

void IngestCall::Count() {
  const uint64_t tokens = session_->computed_tokens(), bytes = session_->committed_bytes();
  metrics_.AddIngested(static_cast<int64_t>(tokens - counted_tokens_), static_cast<int64_t>(bytes - counted_bytes_));
  counted_tokens_ = tokens;
  counted_bytes_ = bytes;
}

void IngestCall::CountAbandoned() {
  if (session_->committed_bytes() > counted_bytes_) Count();
}

void IngestCall::Acknowledge(const v1::IngestProgress& progress) {
  Count();
  {
    absl::MutexLock lock(&mutex_);
    if (writing_) {
      waiting_ = progress;
      has_waiting_ = true;
      return;
    }
    writing_ = true;
  }
  in_flight_ = progress;
  Reaction::Leads(this);
  StartWrite(&in_flight_);
}

void IngestCall::OnWriteDone(bool ok) {
  const Reaction reaction(this);
  bool finish, next;
  {
    absl::MutexLock lock(&mutex_);
    finish = concluded_;
    next = ok && has_waiting_ && !finish;
    writing_ = next;
    if (next) in_flight_ = std::move(waiting_);
    if (next) has_waiting_ = false;
  }
  if (finish) return FinishNow();
  if (!next) return;
  Reaction::Leads(this);
  StartWrite(&in_flight_);
}

void IngestCall::Conclude(const absl::Status& status, const v1::IngestProgress* last) {
  scope_.OnStop(nullptr);
  final_status_ = scope_.End(status);
  session_.reset();  // another call may write the document from now on
  if (last != nullptr) {
    last_ = *last;
    has_last_ = true;
  }
  bool wait;
  {
    absl::MutexLock lock(&mutex_);
    concluded_ = true;
    wait = writing_;
  }
  if (!wait) FinishNow();
}

void IngestCall::FinishNow() {
  Reaction::Leads(this);
  if (has_last_) {
    StartWriteAndFinish(&last_, grpc::WriteOptions(), final_status_);
  } else {
    Finish(final_status_);
  }
}

}  // namespace ilre
