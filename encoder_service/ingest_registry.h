// Which documents are being written right now, and by which call: a document has one writer at a time, the latest.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace ilre {

// Thread-safe; must outlive its claims.
//
// A client whose connection broke comes back long before its server has noticed: so a new call takes a document over
// from an older one, which ends with ABORTED INGEST_TAKEN_OVER.
class IngestRegistry {
 public:
  // The right to write one document, given back by the destructor.
  class Claim {
   public:
    ~Claim();
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

    // Another call wants it: stop soon. Cheap.
    bool revoked() const { return revoked_->load(std::memory_order_relaxed); }

   private:
    friend class IngestRegistry;
    Claim(IngestRegistry* registry, std::string name, std::shared_ptr<std::atomic<bool>> revoked)
        : registry_(registry), name_(std::move(name)), revoked_(std::move(revoked)) {}

    IngestRegistry* const registry_;
    const std::string name_;
    const std::shared_ptr<std::atomic<bool>> revoked_;
  };

  // Waits until the present writer of `name`, which is told to stop, has given it back; of several that wait the latest
  // wins, the others get ABORTED INGEST_TAKEN_OVER. `check` is asked while waiting, and its error returned.
  absl::StatusOr<std::unique_ptr<Claim>> Take(const std::string& name, const std::function<absl::Status()>& check);

  // Calls that write now.
  int num_claims() const;

 private:
  struct Entry {
    std::shared_ptr<std::atomic<bool>> revoked;  // the holder's; null: nobody holds it
    uint64_t latest_ticket = 0;                  // of those that wait or hold
    int users = 0;                               // holder and waiters
  };

  void GiveBack(const std::string& name);

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
};

absl::Status IngestTakenOver(const std::string& name);

}  // namespace ilre
