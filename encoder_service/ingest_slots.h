// How many ingests may be open at once, shared out between tenants.
#pragma once

#include <algorithm>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"

namespace ilre {

// Thread-safe. A named tenant takes at most half of the places, so that another one always finds some.
class IngestSlots {
 public:
  explicit IngestSlots(int max_ingests) : max_ingests_(std::max(1, max_ingests)) {}

  // Whether there was a place; then it has to be given back.
  [[nodiscard]] bool TryTake(const std::string& tenant) {
    absl::MutexLock lock(&mutex_);
    const int most = tenant.empty() ? max_ingests_ : std::max(1, max_ingests_ / 2);
    if (taken_ >= max_ingests_ || taken_by_[tenant] >= most) return false;
    ++taken_;
    ++taken_by_[tenant];
    return true;
  }

  void GiveBack(const std::string& tenant) {
    absl::MutexLock lock(&mutex_);
    --taken_;
    if (--taken_by_[tenant] == 0) taken_by_.erase(tenant);
  }

 private:
  const int max_ingests_;
  absl::Mutex mutex_;
  int taken_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<std::string, int> taken_by_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ilre
