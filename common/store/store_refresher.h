// Keeps a follower up to date.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/store/key_store.h"

namespace ilre {

// Calls Refresh of a store again and again, on a thread of its own, until the end of its life. Refresh fails while the
// store cannot be read (its volume is away, say); the store then shows what it showed before, and this goes on trying.
class StoreRefresher {
 public:
  // `store` must outlive this. `period` passes between the end of one Refresh and the beginning of the next.
  explicit StoreRefresher(KeyStoreReader* store, absl::Duration period = absl::Milliseconds(200));
  ~StoreRefresher();
  StoreRefresher(const StoreRefresher&) = delete;
  StoreRefresher& operator=(const StoreRefresher&) = delete;

  // What the last Refresh returned; OK before the first. Thread-safe.
  absl::Status last_status() const;
  // When the store was last refreshed without an error, or this was made. Thread-safe.
  absl::Time last_success() const;

 private:
  void Run();

  KeyStoreReader* const store_;
  const absl::Duration period_;
  mutable absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status last_status_ ABSL_GUARDED_BY(mutex_);
  absl::Time last_success_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: it uses the members above
};

}  // namespace ilre
