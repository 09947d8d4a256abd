#include "common/store/store_refresher.h"

#include "absl/time/clock.h"

namespace ilre {

StoreRefresher::StoreRefresher(KeyStoreReader* store, absl::Duration period)
    : store_(store), period_(period), last_success_(absl::Now()), thread_([this] { Run(); }) {}

StoreRefresher::~StoreRefresher() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

absl::Status StoreRefresher::last_status() const {
  absl::MutexLock lock(&mutex_);
  return last_status_;
}

absl::Time StoreRefresher::last_success() const {
  absl::MutexLock lock(&mutex_);
  return last_success_;
}

void StoreRefresher::Run() {
  absl::MutexLock lock(&mutex_);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&stop_), period_)) {
    mutex_.Unlock();
    const absl::Time begin = absl::Now();  // what was written before is seen
    const absl::Status status = store_->Refresh();
    mutex_.Lock();
    last_status_ = status;
    if (status.ok()) last_success_ = begin;
  }
}

}  // namespace ilre
