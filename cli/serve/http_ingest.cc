#include "cli/serve/http_ingest.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "cli/serve/http_call.h"
#include "common/base/errors.h"
#include "common/rpc/rpc_errors.h"

namespace ilre::cli {
namespace {

// Text computed in one turn: a fraction of a second, so that ingests and their cancellation do not wait for long.
constexpr size_t kTurnBytes = 32 << 10;

// One upload's session, all of whose work is done in turns on the executor.
class Uploading {
 public:
  Uploading(const UploadRequest& upload, const CallContext& context, EncoderHandler& encoder, Executor& executor,
            ServiceMetrics& metrics)
      : message_(upload.first), tenant_(context.tenant), executor_(executor), metrics_(metrics) {
    session_ = encoder.NewIngest(context, [this](const v1::IngestProgress&) { Count(); });
  }

  absl::Status Take(absl::string_view bytes, bool finish) {
    message_.set_data(bytes.data(), bytes.size());
    message_.set_finish_write(finish);
    const absl::Status status = InTurn([this] { return session_->Take(message_); });
    message_.set_write_offset(message_.write_offset() + static_cast<int64_t>(bytes.size()));
    message_.clear_options();
    return status;
  }

  absl::Status End(v1::IngestProgress* last) {
    const absl::Status status = InTurn([&] { return session_->End(last); });
    if (status.ok() || session_->committed_bytes() > counted_bytes_) Count();
    return status;
  }

  void Abandon() {
    (void)InTurn([this] {
      session_->Abandon();
      if (session_->committed_bytes() > counted_bytes_) Count();
      return absl::OkStatus();
    });
  }

 private:
  absl::Status InTurn(const std::function<absl::Status()>& work) {
    absl::Notification done;
    absl::Status status;
    const bool taken = executor_.SubmitPiece(tenant_, [&] {
      status = work();
      done.Notify();
    });
    if (!taken) return errors::Draining();
    done.WaitForNotification();
    return status;
  }

  void Count() {
    const uint64_t tokens = session_->computed_tokens(), bytes = session_->committed_bytes();
    metrics_.AddIngested(static_cast<int64_t>(tokens - counted_tokens_), static_cast<int64_t>(bytes - counted_bytes_));
    counted_tokens_ = tokens;
    counted_bytes_ = bytes;
  }

  v1::IngestDocumentRequest message_;
  const std::string tenant_;
  Executor& executor_;
  ServiceMetrics& metrics_;
  uint64_t counted_tokens_ = 0, counted_bytes_ = 0;
  std::unique_ptr<IngestSession> session_;
};

}  // namespace

absl::Status Upload(const UploadRequest& upload, const httplib::Request& request, const httplib::ContentReader& reader,
                    const CallScope& scope, EncoderHandler& encoder, Executor& executor, ServiceMetrics& metrics,
                    v1::IngestProgress* last) {
  if (absl::Status status = CheckBodyForm(request); !status.ok()) return status;
  Uploading uploading(upload, scope.context(), encoder, executor, metrics);
  std::string piece;
  absl::Status status;
  size_t discarded = 0;
  const bool read_all = reader([&](const char* data, size_t size) {
    if (!status.ok()) {
      discarded += size;
      return discarded <= kMaxDiscardedBytes && !scope.context().ShouldStop();
    }
    for (absl::string_view rest(data, size); !rest.empty() && status.ok();) {
      const size_t taken = std::min(rest.size(), kTurnBytes - piece.size());
      piece.append(rest.data(), taken);
      rest.remove_prefix(taken);
      if (piece.size() < kTurnBytes) break;
      status = uploading.Take(piece, /*finish=*/false);
      piece.clear();
    }
    return true;
  });
  if (status.ok()) status = uploading.Take(piece, read_all && upload.finish);
  if (status.ok() && read_all) return uploading.End(last);
  if (status.ok()) status = errors::Cancelled("the upload");
  uploading.Abandon();
  return status;
}

}  // namespace ilre::cli
